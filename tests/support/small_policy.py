"""Policies of a few rules about one app, `x`, for tests that read one decision to the letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from policies.compile import CompiledPolicy, compile_policy
from policies.decision import Effect
from policies.model import Condition, Mode, PolicyIR, PostureLimits, Rule

APP = Condition("app", "any_of", ("x",))
COMPLIANT = Condition("device.compliant", "is", (True,))


def rule(identity: str, effect: Effect = Effect.ALLOW, **parts: Any) -> Rule:
    """One enforced rule about the app, with these parts."""
    given: dict[str, Any] = {
        "description": "", "owner": "", "mode": Mode.ENFORCE, "expires": None, "when": (APP,), "require": (),
        "unless": (), "advice": "", "obligations": (), **parts,
    }  # fmt: skip
    return Rule(id=identity, effect=effect, **given)


def policy(*rules: Rule, **parts: Any) -> CompiledPolicy:
    """The rules compiled: posture read ≤ 15 min (100 s more in the office), seen ≤ 1 h."""
    base = PolicyIR("h", "i", 1, "", "", (), (), PostureLimits(900.0, 3600.0, (("office", 100.0),)), rules)
    return compile_policy(replace(base, **parts))
