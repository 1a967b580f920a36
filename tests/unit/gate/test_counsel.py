"""What a refusal advises: each remedy once, and nothing that only follows from another."""

from __future__ import annotations

from gateway.gate.refusal_texts import counsel
from policies.decision import Decision, Effect, Explanation, Unmet
from policies.reasons import Reason

DENIED = Decision(Effect.DENY, Reason.UNMET_CONDITIONS, "")


def unmet(attribute: str, actual: str | None, advice: str, remediation: str = "use_known_device") -> Unmet:
    return Unmet(attribute, "is", "true", actual, remediation, True, advice)


def told(*conditions: Unmet) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return counsel(Explanation(DENIED, (), "r", conditions, "", None, "h"))


def test_regression_unknown_device_is_told_once_without_what_follows() -> None:
    known = unmet("device.known", "false", "登録した端末から")
    managed = unmet("device.managed", None, "管理された端末から")
    seen = unmet("posture.seen_age", None, "端末の電源を入れて")
    zone = unmet("net.zone", "internet", "庁内から", "move_zone")

    assert told(known, managed, seen, zone) == (("登録した端末から", "庁内から"), ())


def test_known_device_is_told_each_of_its_faults() -> None:
    compliant = unmet("device.compliant", "false", "設定を直して", "repair_device")
    encrypted = unmet("device.encrypted", None, "", "encrypt_disk")

    assert told(compliant, encrypted) == (("設定を直して",), ("encrypt_disk",))
