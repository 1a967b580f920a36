"""Everything a decision may look at, and where each fact stands in the decision's record.

The record holds every fact that the policy saw, with the value it saw, so that a replay from the record is exact
(design §6). Facts with an ECS field of their own stand there; the others stand under `sekisho.facts`. A fact that is
not known is absent from both: absent means missing, and a missing fact never helps.
Ages are whole seconds, counted once, so that record and decision cannot differ by a rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.state.records import App, Device, Session, User

FACTS_FIELD = "sekisho.facts"

FACT_FIELDS: Mapping[str, str] = {
    "user.id": "user.id",
    "user.login": "user.name",
    "user.groups": "user.group.name",
    "net.zone": "sekisho.zone",
    "app": "sekisho.app.id",
    "http.method": "http.request.method",
    "http.path": "url.path",
}

_SETS = frozenset({"user.groups", "mfa.amr"})
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_JST = 9 * 3600  # Japan has had no daylight saving time since 1951
_DAY = 86_400
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


def standing_facts(user: User, session: Session, device: Device | None, app: App) -> dict[str, object]:
    """Return the facts that stay the same while these four records do."""
    facts: dict[str, object] = {
        "user.id": user.id,
        "user.login": user.login,
        "user.groups": frozenset(user.groups),
        "user.kind": user.kind,
        "user.department": user.department,
        "user.contract_valid": True,  # the gate refused before, where the contract is over
        "mfa.amr": frozenset(session.amr),
        "device.known": device is not None,
        "app": app.id,
        "app.sensitivity": app.sensitivity,
        "app.business": app.business,
    }
    if session.mfa_method:
        facts["mfa.method"] = session.mfa_method
    if device is not None:
        facts.update(_device_facts(device, user))
    return facts


def _device_facts(device: Device, user: User) -> dict[str, object]:
    known: dict[str, object | None] = {
        "device.managed": device.managed,
        "device.compliant": device.compliant,
        "device.in_grace": device.in_grace,
        "device.encrypted": device.encrypted,
        "device.jailbroken": device.jailbroken,
        "device.owner_match": device.owner == user.login if device.owner else None,
        "device.os": device.os or None,
        "device.os_version": device.os_version or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def moments_of(session: Session, device: Device | None) -> tuple[tuple[str, float], ...]:
    """Return the facts that are ages, each with the time (seconds since the epoch) that it counts from."""
    moments: list[tuple[str, float | None]] = [("auth.age", session.created_at), ("mfa.age", session.mfa_at)]
    if device is not None:
        moments.append(("device.patch_age", device.patched_at))
        moments.append(("posture.read_age", device.read_at))
        moments.append(("posture.seen_age", device.seen_at))
    return tuple((name, since) for name, since in moments if since is not None)


def clock_facts(wall: float) -> tuple[int, str]:
    """Return `time.of_day` (minutes since midnight, Japan time) and `time.weekday` of a wall time."""
    local = int(wall) + _JST
    return local % _DAY // 60, _WEEKDAYS[(local // _DAY + _EPOCH_WEEKDAY) % 7]


def passing_facts(moments: tuple[tuple[str, float], ...], wall: int) -> dict[str, object]:
    """Return the facts that change by themselves: the time, and each age of `moments_of`, at one whole second."""
    of_day, weekday = clock_facts(wall)
    passing: dict[str, object] = {"time.of_day": of_day, "time.weekday": weekday, "time.now": wall}
    for name, since in moments:
        passing[name] = max(0, wall - int(since))
    return passing


def recorded_form(facts: Mapping[str, object]) -> dict[str, object]:
    """Return the facts without a field of their own as JSON values: sets as sorted lists."""
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in facts.items()
        if name not in FACT_FIELDS
    }


def facts_of_record(record: Mapping[str, object]) -> dict[str, object]:
    """Return the facts that a decision's record was made from: the inverse of what the gate wrote."""
    stored = record.get(FACTS_FIELD)
    facts: dict[str, object] = dict(stored) if isinstance(stored, dict) else {}
    for name, field in FACT_FIELDS.items():
        if field in record:
            facts[name] = record[field]
    for name in _SETS:
        value = facts.get(name)
        if isinstance(value, (list, tuple)):
            facts[name] = frozenset(str(item) for item in value)
    return facts
