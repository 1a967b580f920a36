"""The result of a policy decision (values only)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

from policies.reasons import Reason


class Effect(StrEnum):
    """What a policy says to one set of facts."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class StepUpNeed:
    """The factor that would help: any of `methods` (empty = any second factor), not older than `max_age` seconds."""

    methods: tuple[str, ...]
    max_age: float | None


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something that goes with an allow; names and values as `policies.obligations`."""

    name: str
    value: str


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """The hot path's answer: effect, the deciding rule (smallest id), reason and obligations."""

    effect: Effect
    reason: Reason
    rule: str  # "" when no rule decided
    obligations: tuple[Obligation, ...] = ()
    shadow: tuple[str, ...] = ()  # ids of shadow rules that would have changed the effect
    warn: bool = False  # a rule in mode `warn` would have refused: the person is told
    observed: tuple[str, ...] = ()  # ids of rules in observe or warn that would have refused (reason allowed_observed)


@dataclass(frozen=True, slots=True)
class Unmet:
    """One condition that was not met, as a person and the CISO may be told about it."""

    attribute: str
    operator: str
    required: str
    actual: str | None  # None = the attribute was missing or stale
    remediation: str  # a code: step_up_mfa, refresh_posture, update_os, move_zone, …
    user_can_fix: bool
    advice: str  # the rule's own words, "" = none


@dataclass(frozen=True, slots=True)
class Explanation:
    """The full answer, built on denial or on request."""

    decision: Decision
    deciding_rules: tuple[str, ...]
    nearest: str  # rule with the cheapest unmet set, "" = none applies
    unmet: tuple[Unmet, ...]
    advice: str
    step_up: StepUpNeed | None  # set only where a step-up alone would turn the answer into allow
    policy: str  # hash of the version
