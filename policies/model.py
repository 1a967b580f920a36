"""The policy as data (IR): frozen values between the loader and the compiler, and their wire form.

The wire form is what the steward's feed carries and what golden bytes pin: its keys are never renamed or reused,
new ones are only added, and an unknown version is refused. Nothing here imports pydantic or YAML, because workers
load these modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from policies.decision import Effect, Obligation

Operand = bool | float | str

WIRE_VERSION: Final = 1


class Mode(StrEnum):
    """How much a rule bites (design §6)."""

    ENFORCE = "enforce"
    SHADOW = "shadow"  # no effect, divergence recorded
    OBSERVE = "observe"  # would bite, does not yet; recorded
    WARN = "warn"  # as observe, and the person is told


class WireInvalid(ValueError):
    """A wire form that this program does not understand: it must not be half understood."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One leaf: `attribute operator values`. Operators and value forms as `policies.catalogue.OPERATORS`.

    Values: BOOL (bool,) · lists (str, …) sorted · DURATION min/max (seconds,) · ORDERED min/max (str,) ·
    CLOCK between (start, end) in minutes · PATH (str, …) · VERSION min/max (str,).
    """

    attribute: str
    operator: str
    values: tuple[Operand, ...]
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `require` belongs to allow rules, `unless` to deny rules; every list is a conjunction."""

    id: str
    effect: Effect
    description: str
    owner: str
    mode: Mode
    expires: float | None  # epoch seconds; observe and warn end then and the rule is enforced
    when: tuple[Condition, ...]
    require: tuple[Condition, ...]
    unless: tuple[Condition, ...]
    advice: str
    obligations: tuple[Obligation, ...]
    line: int = 0  # where it stands in the source, 1-based

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All leaves, in the order when, require, unless."""
        return self.when + self.require + self.unless


@dataclass(frozen=True, slots=True)
class PostureLimits:
    """How old posture facts may be, in seconds, before they count as missing.

    `read_max` is the age of our last good read of the MDM; `grace` adds to it for each zone named there;
    `seen_max` is the age of the MDM's last contact with the device and has no grace.
    """

    read_max: float = 900.0
    seen_max: float = 86400.0
    grace: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """One test of the file: `facts` as the catalogue types them, and what must come out ("" = not stated)."""

    name: str
    facts: tuple[tuple[str, Any], ...]
    effect: Effect
    rule: str
    reason: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class PolicyIR:
    """One immutable policy version. `hash` is the SHA-256 of its source; rules are sorted by id."""

    hash: str
    id: str
    revision: int
    title: str
    owner: str
    zones: tuple[tuple[str, tuple[str, ...]], ...]
    groups: tuple[tuple[str, str], ...]  # declared groups and their names, () = not declared
    posture: PostureLimits
    rules: tuple[Rule, ...]
    tests: tuple[PolicyTest, ...] = ()

    def rule(self, rule_id: str) -> Rule | None:
        """The rule with this id, or None."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)

    def to_wire(self) -> dict[str, Any]:
        """Return JSON values that `from_wire` turns into an equal policy."""
        return {
            "v": WIRE_VERSION,
            "hash": self.hash,
            "id": self.id,
            "revision": self.revision,
            "title": self.title,
            "owner": self.owner,
            "zones": [[name, list(networks)] for name, networks in self.zones],
            "groups": [list(pair) for pair in self.groups],
            "posture": {
                "read_max": self.posture.read_max,
                "seen_max": self.posture.seen_max,
                "grace": [list(pair) for pair in self.posture.grace],
            },
            "rules": [_rule_to_wire(rule) for rule in self.rules],
            "tests": [_test_to_wire(test) for test in self.tests],
        }

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> PolicyIR:
        """Build the policy from `to_wire`'s mapping.

        Raises:
            WireInvalid: another wire version, or a shape that is not one of ours.
        """
        if wire.get("v") != WIRE_VERSION:
            raise WireInvalid(f"policy wire version: got {wire.get('v')!r}, expected {WIRE_VERSION}")
        try:
            posture = wire["posture"]
            return cls(
                hash=wire["hash"],
                id=wire["id"],
                revision=wire["revision"],
                title=wire["title"],
                owner=wire["owner"],
                zones=tuple((name, tuple(networks)) for name, networks in wire["zones"]),
                groups=tuple((name, title) for name, title in wire["groups"]),
                posture=PostureLimits(
                    posture["read_max"],
                    posture["seen_max"],
                    tuple((zone, seconds) for zone, seconds in posture["grace"]),
                ),
                rules=tuple(_rule_from_wire(item) for item in wire["rules"]),
                tests=tuple(_test_from_wire(item) for item in wire["tests"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireInvalid(f"policy wire form: {type(error).__name__}: {error}") from error


def _condition_to_wire(condition: Condition) -> list[Any]:
    return [condition.attribute, condition.operator, list(condition.values), condition.advice]


def _condition_from_wire(wire: list[Any]) -> Condition:
    attribute, operator, values, advice = wire
    return Condition(attribute, operator, tuple(values), advice)


def _rule_to_wire(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "effect": rule.effect.value,
        "description": rule.description,
        "owner": rule.owner,
        "mode": rule.mode.value,
        "expires": rule.expires,
        "when": [_condition_to_wire(item) for item in rule.when],
        "require": [_condition_to_wire(item) for item in rule.require],
        "unless": [_condition_to_wire(item) for item in rule.unless],
        "advice": rule.advice,
        "obligations": [[item.name, item.value] for item in rule.obligations],
        "line": rule.line,
    }


def _rule_from_wire(wire: dict[str, Any]) -> Rule:
    return Rule(
        id=wire["id"],
        effect=Effect(wire["effect"]),
        description=wire["description"],
        owner=wire["owner"],
        mode=Mode(wire["mode"]),
        expires=wire["expires"],
        when=tuple(_condition_from_wire(item) for item in wire["when"]),
        require=tuple(_condition_from_wire(item) for item in wire["require"]),
        unless=tuple(_condition_from_wire(item) for item in wire["unless"]),
        advice=wire["advice"],
        obligations=tuple(Obligation(name, value) for name, value in wire["obligations"]),
        line=wire["line"],
    )


def _test_to_wire(test: PolicyTest) -> dict[str, Any]:
    return {
        "name": test.name,
        "effect": test.effect.value,
        "rule": test.rule,
        "reason": test.reason,
        "line": test.line,
        "facts": [
            [name, {"set": sorted(value)} if isinstance(value, frozenset) else value] for name, value in test.facts
        ],
    }


def _test_from_wire(wire: dict[str, Any]) -> PolicyTest:
    return PolicyTest(
        name=wire["name"],
        effect=Effect(wire["effect"]),
        rule=wire["rule"],
        reason=wire["reason"],
        line=wire["line"],
        facts=tuple(
            (name, frozenset(value["set"]) if isinstance(value, dict) else value) for name, value in wire["facts"]
        ),
    )
