"""Explanations to the letter: what a rule still wants, what would lift a denial, which factor would help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policies.catalogue import Kind
from policies.decision import Decision, Effect, Explanation, StepUpNeed, Unmet
from policies.explain import describe_fact, describe_values
from policies.model import Condition, Mode
from policies.reasons import Reason
from tests.support.policy_worlds import NOW
from tests.support.small_policy import APP, COMPLIANT, policy, rule

AGE = Condition("mfa.age", "max", (3600.0,), "再認証")
METHOD = Condition("mfa.method", "any_of", ("webauthn",))
ZONE = Condition("net.zone", "any_of", ("office",))
HOURS = Condition("time.of_day", "between", (480, 1080), "時間")


def gaps(found: Explanation) -> list[tuple[str, str, str, str | None, str, bool, str]]:
    return [
        (each.attribute, each.operator, each.required, each.actual, each.remediation, each.user_can_fix, each.advice)
        for each in found.unmet
    ]


def test_the_nearest_rule_and_all_that_it_wants() -> None:
    compiled = policy(
        rule("b", require=(AGE, ZONE, HOURS), advice="B"), rule("a", require=(ZONE, HOURS), advice="A"),
        rule("c", when=(Condition("app", "any_of", ("y",)),)), rule("d", require=(ZONE, HOURS)),
    )  # fmt: skip
    found = compiled.explain({"app": "x", "net.zone": "home", "time.of_day": 1081})
    assert (found.nearest, found.deciding_rules, found.advice, found.step_up, found.policy) == ("a", (), "A", None, "h")
    assert found.decision == Decision(Effect.DENY, Reason.UNMET_CONDITIONS, "")
    assert gaps(found) == [
        ("net.zone", "any_of", "office", "home", "move_zone", True, ""),
        ("time.of_day", "between", "08:00-18:00", "18:01", "wait_for_hours", False, "時間"),
    ]
    nothing = compiled.explain({"app": "z"})
    assert (nothing.nearest, nothing.deciding_rules, nothing.unmet, nothing.advice) == ("", (), (), "")


def test_what_would_lift_a_denial() -> None:
    first = rule("f", Effect.DENY, when=(APP, ZONE), unless=(AGE, COMPLIANT), advice="")
    second = rule("g", Effect.DENY, when=(ZONE,), unless=(METHOD,), advice="G")
    away = rule("h", Effect.DENY, when=(Condition("net.zone", "any_of", ("home",)),), advice="H")
    compiled = policy(first, second, away, rule("a"))
    facts = {"app": "x", "net.zone": "office", "mfa.age": 7200.0, "mfa.method": "totp"}
    found = compiled.explain(facts)
    assert (found.deciding_rules, found.nearest, found.advice) == (("f", "g"), "", "G")
    assert gaps(found) == [
        ("net.zone", "none_of", "office", "office", "move_zone", True, ""),
        ("mfa.age", "max", "1h", "2h", "step_up_mfa", True, "再認証"),
        ("device.compliant", "is", "true", None, "use_known_device", True, ""),
        ("net.zone", "none_of", "office", "office", "move_zone", True, ""),
        ("mfa.method", "any_of", "webauthn", "totp", "step_up_mfa", True, ""),
    ]
    assert found.step_up is None  # the device would still be missing
    fresh = {**facts, "device.known": True, "device.compliant": True, "posture.read_age": 0, "posture.seen_age": 0}
    assert compiled.explain(fresh).step_up == StepUpNeed(("webauthn",), 3600.0)
    waiting = policy(replace(first, mode=Mode.OBSERVE, expires=NOW), second, rule("a"))
    assert waiting.explain({**facts, "time.now": NOW - 1}).deciding_rules == ("g",)
    assert waiting.explain({**facts, "time.now": NOW}).deciding_rules == ("f", "g")


def test_an_allow_says_who_granted_it_and_what_was_lifted() -> None:
    lifted = rule("l", Effect.DENY, when=(ZONE,), unless=(METHOD,), mode=Mode.OBSERVE, expires=NOW, advice="L")
    compiled = policy(rule("b"), rule("a"), rule("c", require=(AGE,)), lifted)
    facts = {"app": "x", "net.zone": "office", "mfa.method": "totp", "time.now": NOW - 1}
    found = compiled.explain(facts)
    assert (found.deciding_rules, found.nearest, found.advice, found.step_up) == (("a", "b"), "", "L", None)
    assert [each[:2] for each in gaps(found)] == [("net.zone", "none_of"), ("mfa.method", "any_of")]
    only = policy(rule("w", mode=Mode.WARN, expires=NOW, require=(AGE,), advice="W"))
    observed = only.explain({"app": "x", "mfa.age": 7200, "time.now": NOW - 1})
    assert (observed.deciding_rules, observed.advice) == (("w",), "W")
    assert gaps(observed) == [("mfa.age", "max", "1h", "2h", "step_up_mfa", True, "再認証")]


@pytest.mark.parametrize(
    ("facts", "remediation", "fixable", "actual"),
    [
        ({}, "use_known_device", True, None),
        ({"device.known": False, "device.compliant": False}, "use_known_device", True, None),
        ({"device.known": True}, "wait_for_posture", False, None),
        ({"device.known": True, "device.compliant": True, "posture.read_age": 901, "posture.seen_age": 902},
         "refresh_posture", True, None),
        ({"device.known": True, "device.compliant": True, "posture.read_age": 902, "posture.seen_age": 902},
         "wait_for_posture", False, None),
        ({"device.known": True, "device.compliant": True, "posture.read_age": 902}, "wait_for_posture", False, None),
        ({"device.known": True, "posture.read_age": 901, "posture.seen_age": 9999}, "wait_for_posture", False, None),
        ({"device.known": True, "device.compliant": False, "posture.read_age": 0, "posture.seen_age": 0},
         "fix_device", True, "false"),
    ],
)  # fmt: skip
def test_what_helps_against_an_unknown_posture(
    facts: dict[str, Any], remediation: str, fixable: bool, actual: str | None
) -> None:
    (gap,) = policy(rule("a", require=(COMPLIANT,))).explain({"app": "x", **facts}).unmet
    assert gap == Unmet("device.compliant", "is", "true", actual, remediation, fixable, "")


def test_a_step_up_asks_for_the_smallest_age_in_play() -> None:
    short = Condition("mfa.age", "max", (60.0,))
    old = {"app": "x", "mfa.age": 9e9, "mfa.method": "totp"}
    assert policy(rule("a", require=(AGE, short))).explain(old).step_up == StepUpNeed((), 60.0)
    assert policy(rule("a", when=(APP, short))).explain(old).step_up == StepUpNeed((), 60.0)
    assert policy(rule("a", require=(METHOD,))).explain(old).step_up == StepUpNeed(("webauthn",), None)
    amr = Condition("mfa.amr", "all_of", ("hwk", "mfa"))
    assert policy(rule("a", require=(amr,))).explain(old).step_up == StepUpNeed(("webauthn",), None)
    longer = Condition("mfa.age", "min", (60.0,))
    assert policy(rule("a", require=(longer,))).explain({**old, "mfa.age": 1}).step_up is None
    elsewhere = rule("d", Effect.DENY, when=(Condition("app", "any_of", ("y",)),), unless=(short,))
    here = rule("e", Effect.DENY, when=(), unless=(Condition("mfa.age", "max", (600.0,)),))
    assert policy(rule("a", require=(AGE,)), elsewhere, here).explain(old).step_up == StepUpNeed((), 600.0)


@pytest.mark.parametrize(
    ("condition", "text"),
    [(("device.known", "is", (False,)), "false"), (("device.known", "is", (True,)), "true"),
     (("mfa.age", "max", (5400.0,)), "90m"), (("time.of_day", "between", (0, 1440)), "00:00-24:00"),
     (("app", "any_of", ("b", "a")), "b, a")],
)  # fmt: skip
def test_wanted_values_as_a_file_writes_them(condition: Any, text: str) -> None:
    assert describe_values(Condition(*condition)) == text


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [(Kind.BOOL, True, "true"), (Kind.DURATION, 1e12, "1000000000000.0"), (Kind.DURATION, 1e12 - 1, "11574074d1h"),
     (Kind.CLOCK, 61.5, "01:01"), (Kind.TEXT, 5, "5"), (Kind.SET, {2, 1}, "1, 2"),
     (Kind.CLOCK, -1e12, "-1000000000000.0")],
)  # fmt: skip
def test_facts_as_people_read_them(kind: Kind, value: object, text: str) -> None:
    assert describe_fact(kind, value) == text
