"""Explanations on the starter policy: what a person is told, what the CISO sees, when a step-up is offered."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

from policies.catalogue import Kind
from policies.compile import CompiledPolicy, compile_policy
from policies.decision import StepUpNeed
from policies.explain import describe_fact
from policies.load import load_policy
from policies.reasons import Reason

STAFF: dict[str, Any] = {
    "user.groups": frozenset({"shokuin"}),
    "user.kind": "staff",
    "user.contract_valid": True,
    "mfa.method": "totp",
    "mfa.age": 600.0,
    "http.method": "GET",
    "http.path": "/",
    "net.zone": "office",
    "device.known": True,
    "device.managed": True,
    "device.compliant": True,
    "device.in_grace": False,
    "device.encrypted": True,
    "device.jailbroken": False,
    "device.owner_match": True,
    "device.os": "Windows",
    "posture.read_age": 60.0,
    "posture.seen_age": 3600.0,
    "time.of_day": 600,
    "time.weekday": "mon",
    "time.now": 1_800_000_000.0,
}
GROUPWARE = {"app": "groupware", "app.sensitivity": "2"}
ZAIMU = {"app": "zaimu", "app.sensitivity": "3C"}
PAYMENT = {**ZAIMU, "http.path": "/shiharai/9", "http.method": "POST", "user.groups": frozenset({"shokuin", "kaikei"})}


@pytest.fixture(scope="module")
def policy() -> CompiledPolicy:
    """The starter policy."""
    return compile_policy(load_policy(files("policies").joinpath("bundled", "starter.yaml").read_bytes(), "starter"))


def test_an_allow_names_every_granting_rule(policy: CompiledPolicy) -> None:
    found = policy.explain({**STAFF, **GROUPWARE})
    assert (found.deciding_rules, found.nearest, found.unmet, found.step_up) == (("groupware-staff",), "", (), None)
    assert found.policy == policy.hash


@pytest.mark.promise("P7.unmet-conditions-named")
def test_a_person_without_a_device_is_told_to_use_one(policy: CompiledPolicy) -> None:
    facts = {name: value for name, value in STAFF.items() if not name.startswith(("device", "posture"))}
    found = policy.explain({**facts, **GROUPWARE, "device.known": False})
    assert found.decision.reason is Reason.UNMET_CONDITIONS
    assert found.nearest == "groupware-staff"
    assert [(item.attribute, item.actual, item.remediation) for item in found.unmet] == [
        ("device.known", "false", "use_known_device"),
        ("device.managed", None, "use_known_device"),
        ("device.compliant", None, "use_known_device"),
    ]
    assert found.unmet[0].advice == "市が登録した端末から利用してください"
    assert found.step_up is None, "another factor would not bring a device"


@pytest.mark.parametrize(
    ("ages", "remediation", "fixable"),
    [
        ({"posture.seen_age": 90000.0}, "refresh_posture", True),
        ({"posture.read_age": 90000.0}, "wait_for_posture", False),
        ({"posture.read_age": None}, "wait_for_posture", False),
    ],
)
def test_a_stale_posture_is_told_apart_from_a_bad_device(
    policy: CompiledPolicy, ages: dict[str, Any], remediation: str, fixable: bool
) -> None:
    found = policy.explain({**STAFF, **ZAIMU, **ages})
    gap = next(item for item in found.unmet if item.attribute == "device.compliant")
    assert (gap.actual, gap.remediation, gap.user_can_fix) == (None, remediation, fixable)


def test_a_bad_device_is_told_what_to_mend(policy: CompiledPolicy) -> None:
    found = policy.explain({**STAFF, **ZAIMU, "device.compliant": False})
    assert found.deciding_rules == ("deny-unfit-device",)
    assert found.advice == "市が管理する、準拠した端末から利用してください"
    assert [(item.attribute, item.operator, item.actual, item.remediation) for item in found.unmet] == [
        ("device.compliant", "is", "false", "fix_device")
    ]


@pytest.mark.promise("P7.step-up-only-if-it-helps")
@pytest.mark.parametrize(
    ("facts", "need"),
    [
        ({**GROUPWARE, "mfa.age": 90000.0}, StepUpNeed((), 43200.0)),
        ({**GROUPWARE, "mfa.age": None, "mfa.method": None}, StepUpNeed((), 43200.0)),
        ({**GROUPWARE, "mfa.age": 90000.0, "net.zone": "internet"}, None),
        ({**GROUPWARE, "mfa.age": 90000.0, "user.contract_valid": False}, None),
        (PAYMENT, StepUpNeed(("webauthn",), 900.0)),
        ({**PAYMENT, "mfa.method": "webauthn", "mfa.age": 901.0}, StepUpNeed(("webauthn",), 900.0)),
        ({**PAYMENT, "device.compliant": False}, None),
        ({**PAYMENT, "user.groups": frozenset({"shokuin"})}, None),
        ({"app": "unknown", "app.sensitivity": "1"}, None),
    ],
)
def test_a_step_up_is_offered_only_where_it_alone_would_help(
    policy: CompiledPolicy, facts: dict[str, Any], need: StepUpNeed | None
) -> None:
    assert policy.explain({**STAFF, **facts}).step_up == need


def test_rules_whose_when_failed_are_never_shown(policy: CompiledPolicy) -> None:
    found = policy.explain({**STAFF, "app": "juki", "app.sensitivity": "3A"})
    assert (found.decision.reason, found.nearest, found.unmet, found.deciding_rules) == (
        Reason.NO_APPLICABLE_RULE,
        "",
        (),
        (),
    )


def test_the_nearest_rule_is_the_cheapest_to_meet(policy: CompiledPolicy) -> None:
    facts = {**STAFF, **GROUPWARE, "device.compliant": False, "device.in_grace": True, "net.zone": "telework"}
    assert policy.explain(facts).nearest == "groupware-staff"
    assert policy.explain({**facts, "net.zone": "internet"}).nearest == "groupware-in-grace"


def test_a_deny_rule_says_what_would_lift_it(policy: CompiledPolicy) -> None:
    found = policy.explain(
        {**STAFF, "user.groups": frozenset({"shimin"}), "app": "juki", "app.sensitivity": "3A", "net.zone": "telework"}
    )
    assert found.decision.rule == "deny-personal-data-outside"
    assert [(item.attribute, item.operator, item.required, item.remediation) for item in found.unmet] == [
        ("net.zone", "any_of", "lgwan, office", "move_zone")
    ]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Kind.DURATION, 73510.0, "20h25m"),
        (Kind.DURATION, 5.9, "5s"),
        (Kind.DURATION, -3.0, "0s"),
        (Kind.DURATION, 200000.0, "2d7h"),
        (Kind.DURATION, float("inf"), "inf"),
        (Kind.DURATION, float("nan"), "nan"),
        (Kind.CLOCK, 485, "08:05"),
        (Kind.SET, frozenset({"b", "a"}), "a, b"),
        (Kind.TEXT, "x", "x"),
        (Kind.BOOL, False, "false"),
        (Kind.TEXT, None, None),
    ],
)
def test_facts_are_written_for_reading(kind: Kind, value: object, text: str | None) -> None:
    assert describe_fact(kind, value) == text
