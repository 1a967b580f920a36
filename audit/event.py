"""What a record says: the closed list of acts, and how a record of one is made.

A record is a flat mapping with dotted ECS keys (`audit.ecs`). What may never change: an action's name, its dataset,
kind and category; a line already written stays readable for ever. New actions and fields are only appended.

A journal's line may leave out the constant fields of its action: `event.action` implies them (with `event.outcome`, for
a decision's type). One that has `ecs.version` leaves out none. `short` leaves them out, `whole` gives them back, and
whoever reads lines reads them whole (`audit.segment.record_of`). So what an action implies may never change either.

Nothing secret enters a record: no token, password, code, cookie, body. `text` turns whatever bytes a client sent into
text that is one JSON string, one line on a terminal after JSON encoding, and from which the bytes can be recovered.
`event` hides the numbers of persons (`audit.numbers`) in every field whose words somebody outside chose.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from audit.ecs import ECS_VERSION, FIELDS, GIVEN
from audit.numbers import masked


class Action(StrEnum):
    """`event.action`: what happened. Append only."""

    REQUEST_DECIDED = "request.decided"
    REQUEST_COMPLETED = "request.completed"
    REQUEST_COALESCED = "request.coalesced"
    TUNNEL_PROGRESS = "tunnel.progress"
    TLS_FAILED = "tls.failed"
    AUTH_PASSWORD = "auth.password"  # noqa: S105 (the name of an act)
    AUTH_TOTP = "auth.totp"
    AUTH_PASSKEY = "auth.passkey"
    AUTH_SETUP = "auth.setup"
    AUTH_WAITING = "auth.waiting"
    SESSION_STARTED = "session.started"
    SESSION_ELEVATED = "session.elevated"
    SESSION_ENDED = "session.ended"
    APP_SESSION_STARTED = "app_session.started"
    FACTOR_ENROLLED = "factor.enrolled"
    FACTOR_REMOVED = "factor.removed"
    FACTOR_DISABLED = "factor.disabled"
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    LOCK_ADDED = "lock.added"
    LOCK_REMOVED = "lock.removed"
    APP_PROPOSED = "app.proposed"
    APP_APPROVED = "app.approved"
    APP_REMOVED = "app.removed"
    POLICY_PROPOSED = "policy.proposed"
    POLICY_APPROVED = "policy.approved"
    POLICY_ACTIVATED = "policy.activated"
    APPROVAL_DECIDED = "approval.decided"
    DEVICE_CHANGED = "device.changed"
    POSTURE_SYNCED = "posture.synced"
    POSTURE_FAILED = "posture.failed"
    POSTURE_RECOVERED = "posture.recovered"
    CERTIFICATE_REVOKED = "certificate.revoked"
    CERTIFICATE_REINSTATED = "certificate.reinstated"  # a list has it no more: a hold ended
    ADMIN_REQUESTED = "admin.requested"
    ADMIN_DONE = "admin.done"
    PROCESS_STARTED = "process.started"
    PROCESS_DIED = "process.died"
    WORKER_FENCED = "worker.fenced"
    CLOCK_JUMPED = "clock.jumped"
    CLOCK_ACCEPTED = "clock.accepted"
    JOURNAL_OPENED = "journal.opened"
    AUDIT_GAP = "audit.gap"
    AUDIT_TRIMMED = "audit.trimmed"
    AUDIT_REFUSED = "audit.refused"  # the auditor met a record or a checkpoint that it will not cover
    AUDIT_STARTED = "audit.started"  # the auditor opened the log, at this size
    CASE_OPENED = "case.opened"
    CASE_UPDATED = "case.updated"
    CASE_ACKNOWLEDGED = "case.acknowledged"
    CASE_CLOSED = "case.closed"
    AUDIT_EXPIRED = "audit.expired"  # a segment came to the end of its retention: its records are deleted
    AUDIT_NOT_KEPT = "audit.not_kept"  # the auditor could not compress, or may not delete, as the settings say
    AUDIT_WITNESS = "audit.witness"  # a witness stands otherwise towards the log than before
    AUDIT_KEY_ROTATED = "audit.key_rotated"  # the old checkpoint key names the new one, before it signs anything
    AUDIT_KEY_REPLACED = "audit.key_replaced"  # a key that no earlier one names: trust in it comes from elsewhere
    COPY_RECONCILED = "copy.reconciled"  # somebody compared a period of the copy with the journals
    COPY_DIFFERS = "copy.differs"  # one way in which it was not what they call for
    DISK_FILLING = "disk.filling"  # beyond the alarm, or another kind of record is no longer taken
    DISK_RECOVERED = "disk.recovered"
    TRAIL_EXPORTED = "trail.exported"  # records left the trail in an evidence bundle
    CONNECTION_REFUSED = "connection.refused"  # over a limit of connections, or the system had no room for it
    SETTINGS_TAKEN_UP = "settings.taken_up"  # the file was read again, and is in force in every process
    SETTINGS_REFUSED = "settings.refused"  # it was read again, and what was in force stays
    PROGRAM_REPLACED = "program.replaced"  # the supervisor becomes the program that is installed now
    CERTIFICATE_SERVED = "certificate.served"  # a listener shows other certificates from now on
    CERTIFICATE_REFUSED = "certificate.refused"  # changed files cannot be served; the former certificates still are
    CERTIFICATE_EXPIRING = "certificate.expiring"  # one that is served ends soon
    UPSTREAM_FAILED = "upstream.failed"  # a server of an app failed so often that a worker leaves it alone for a while
    UPSTREAM_RECOVERED = "upstream.recovered"
    CRL_ACCEPTED = "crl.accepted"  # an authority's revocation list is in force from now on
    CRL_REFUSED = "crl.refused"  # a file with one cannot be used; the former list stays
    CRL_STALE = "crl.stale"  # the one in force is past its time, or there is none
    CRL_DROPPED = "crl.dropped"  # the settings name it no more
    CRL_RENUMBERED = "crl.renumbered"  # a person said that the authority's numbers began anew: a lower one may follow


@dataclass(frozen=True, slots=True)
class Shape:
    """What every record of one action says of itself (ECS categorisation fields)."""

    dataset: str
    kind: str
    category: tuple[str, ...]
    type: tuple[str, ...]


_ACCESS = Shape("sekisho.access", "event", ("web", "network"), ("access",))
_AUTH = Shape("sekisho.auth", "event", ("authentication",), ("start",))
_SESSION_START = Shape("sekisho.session", "event", ("session",), ("start",))
_FACTOR = ("sekisho.auth", "event", ("iam",))
_USER = ("sekisho.admin", "event", ("iam",))
_APP = Shape("sekisho.admin", "event", ("configuration",), ("change",))
_POLICY = Shape("sekisho.policy", "event", ("configuration",), ("change",))
_ADMIN = Shape("sekisho.admin", "event", ("configuration",), ("access",))
_PROCESS = ("sekisho.health", "event", ("process",))
_HEALTH = Shape("sekisho.health", "event", ("host",), ("info",))
_CASE = Shape("sekisho.anomaly", "alert", ("intrusion_detection",), ("info",))
_CASE_ACT = Shape("sekisho.anomaly", "event", ("intrusion_detection",), ("change",))
_TRAIL = Shape("sekisho.health", "event", ("file",), ("change",))

SHAPES: Final[Mapping[Action, Shape]] = {
    Action.REQUEST_DECIDED: _ACCESS,
    Action.REQUEST_COMPLETED: Shape("sekisho.access", "event", ("web", "network"), ("access", "end")),
    Action.REQUEST_COALESCED: Shape("sekisho.access", "event", ("web", "network"), ("access", "denied")),
    Action.TUNNEL_PROGRESS: Shape("sekisho.access", "event", ("network",), ("connection", "info")),
    Action.TLS_FAILED: Shape("sekisho.access", "event", ("network",), ("connection", "denied")),
    Action.AUTH_PASSWORD: _AUTH,
    Action.AUTH_TOTP: _AUTH,
    Action.AUTH_PASSKEY: _AUTH,
    Action.AUTH_SETUP: _AUTH,
    Action.AUTH_WAITING: Shape("sekisho.auth", "event", ("authentication",), ("info",)),
    Action.SESSION_STARTED: _SESSION_START,
    Action.SESSION_ELEVATED: Shape("sekisho.session", "event", ("session", "authentication"), ("start",)),
    Action.SESSION_ENDED: Shape("sekisho.session", "event", ("session",), ("end",)),
    Action.APP_SESSION_STARTED: _SESSION_START,
    Action.FACTOR_ENROLLED: Shape(*_FACTOR, ("user", "creation")),
    Action.FACTOR_REMOVED: Shape(*_FACTOR, ("user", "deletion")),
    Action.FACTOR_DISABLED: Shape(*_FACTOR, ("user", "change")),
    Action.USER_CREATED: Shape(*_USER, ("user", "creation")),
    Action.USER_CHANGED: Shape(*_USER, ("user", "change")),
    Action.USER_DISABLED: Shape(*_USER, ("user", "change")),
    Action.USER_ENABLED: Shape(*_USER, ("user", "change")),
    Action.LOCK_ADDED: Shape("sekisho.session", "event", ("iam",), ("admin", "creation")),
    Action.LOCK_REMOVED: Shape("sekisho.session", "event", ("iam",), ("admin", "deletion")),
    Action.APP_PROPOSED: _APP,
    Action.APP_APPROVED: _APP,
    Action.APP_REMOVED: Shape("sekisho.admin", "event", ("configuration",), ("deletion",)),
    Action.POLICY_PROPOSED: Shape("sekisho.policy", "event", ("configuration",), ("creation",)),
    Action.POLICY_APPROVED: _POLICY,
    Action.POLICY_ACTIVATED: _POLICY,
    Action.APPROVAL_DECIDED: _APP,
    Action.DEVICE_CHANGED: Shape("sekisho.posture", "event", ("host",), ("change",)),
    Action.POSTURE_SYNCED: Shape("sekisho.posture", "state", ("host",), ("info",)),
    Action.POSTURE_FAILED: Shape("sekisho.posture", "event", ("host",), ("error",)),
    Action.POSTURE_RECOVERED: Shape("sekisho.posture", "event", ("host",), ("info",)),
    Action.CERTIFICATE_REVOKED: Shape("sekisho.posture", "event", ("iam", "host"), ("deletion",)),
    Action.CERTIFICATE_REINSTATED: Shape("sekisho.posture", "event", ("iam", "host"), ("change",)),
    Action.ADMIN_REQUESTED: _ADMIN,
    Action.ADMIN_DONE: Shape("sekisho.admin", "event", ("configuration",), ("end",)),
    Action.PROCESS_STARTED: Shape(*_PROCESS, ("start",)),
    Action.PROCESS_DIED: Shape(*_PROCESS, ("end",)),
    Action.WORKER_FENCED: Shape(*_PROCESS, ("end", "change")),
    Action.CLOCK_JUMPED: _HEALTH,
    Action.CLOCK_ACCEPTED: _HEALTH,
    Action.JOURNAL_OPENED: Shape("sekisho.health", "event", ("file",), ("creation",)),
    Action.AUDIT_GAP: Shape("sekisho.health", "event", ("file",), ("error",)),
    Action.AUDIT_TRIMMED: Shape("sekisho.health", "event", ("file",), ("deletion",)),
    Action.AUDIT_REFUSED: Shape("sekisho.health", "alert", ("file",), ("error",)),
    Action.AUDIT_STARTED: _TRAIL,
    Action.CASE_OPENED: _CASE,
    Action.CASE_UPDATED: _CASE,
    Action.CASE_ACKNOWLEDGED: _CASE_ACT,
    Action.CASE_CLOSED: _CASE_ACT,
    Action.AUDIT_EXPIRED: Shape("sekisho.health", "event", ("file",), ("deletion",)),
    Action.AUDIT_NOT_KEPT: Shape("sekisho.health", "alert", ("file",), ("error",)),
    Action.AUDIT_WITNESS: Shape("sekisho.health", "event", ("file",), ("info",)),
    Action.AUDIT_KEY_ROTATED: Shape("sekisho.health", "event", ("configuration",), ("change",)),
    Action.AUDIT_KEY_REPLACED: Shape("sekisho.health", "alert", ("configuration",), ("change",)),
    Action.COPY_RECONCILED: Shape("sekisho.health", "event", ("file",), ("info",)),
    Action.COPY_DIFFERS: Shape("sekisho.health", "alert", ("file",), ("error",)),
    Action.DISK_FILLING: _HEALTH,
    Action.DISK_RECOVERED: _HEALTH,
    Action.TRAIL_EXPORTED: Shape("sekisho.admin", "event", ("file",), ("access",)),
    Action.CONNECTION_REFUSED: Shape("sekisho.access", "event", ("network",), ("connection", "denied")),
    Action.SETTINGS_TAKEN_UP: Shape("sekisho.admin", "event", ("configuration",), ("change",)),
    Action.SETTINGS_REFUSED: Shape("sekisho.admin", "event", ("configuration",), ("error",)),
    Action.PROGRAM_REPLACED: Shape(*_PROCESS, ("change",)),
    Action.CERTIFICATE_SERVED: Shape("sekisho.health", "event", ("configuration",), ("change",)),
    Action.CERTIFICATE_REFUSED: Shape("sekisho.health", "alert", ("configuration",), ("error",)),
    Action.CERTIFICATE_EXPIRING: Shape("sekisho.health", "alert", ("configuration",), ("info",)),
    Action.UPSTREAM_FAILED: Shape("sekisho.health", "event", ("host",), ("error",)),
    Action.UPSTREAM_RECOVERED: _HEALTH,
    Action.CRL_ACCEPTED: Shape("sekisho.posture", "event", ("iam",), ("change",)),
    Action.CRL_REFUSED: Shape("sekisho.health", "alert", ("configuration",), ("error",)),
    Action.CRL_STALE: Shape("sekisho.health", "alert", ("configuration",), ("error",)),
    Action.CRL_DROPPED: Shape("sekisho.posture", "event", ("iam",), ("deletion",)),
    Action.CRL_RENUMBERED: Shape("sekisho.posture", "event", ("iam",), ("change",)),
}

BASE: Final[Mapping[Action, Mapping[str, Any]]] = {
    action: {
        "event.action": action.value,
        "event.dataset": shape.dataset,
        "event.kind": shape.kind,
        "event.category": list(shape.category),
        "event.type": list(shape.type),
        "ecs.version": ECS_VERSION,
    }
    for action, shape in SHAPES.items()
}
"""The constant fields of each action's records, for code that builds its mappings itself (`{**BASE[action], …}`)."""

ALLOWED: Final = ("access", "allowed")
DENIED: Final = ("access", "denied")
"""`event.type` of a decision, by its outcome."""

LONGEST: Final = 4096
"""Characters of one text from outside in one record."""

IMPLIED: Final = frozenset({"event.dataset", "event.kind", "event.category", "event.type", "ecs.version"})
"""The fields that a line may leave out."""

_DECISION: Final = Action.REQUEST_DECIDED.value
_BY_ACTION: Final[Mapping[str, Mapping[str, Any]]] = {action.value: fields for action, fields in BASE.items()}
_BY_OUTCOME: Final[Mapping[str, Mapping[str, Any]]] = {
    "success": {**_BY_ACTION[_DECISION], "event.type": list(ALLOWED)},
    "failure": {**_BY_ACTION[_DECISION], "event.type": list(DENIED)},
}


def implied(action: object, outcome: object = None) -> Mapping[str, Any]:
    """Return the action and the fields that it implies with this `event.outcome`; nothing for what is no action."""
    if not isinstance(action, str):
        return {}
    if action == _DECISION and isinstance(outcome, str) and outcome in _BY_OUTCOME:
        return _BY_OUTCOME[outcome]
    return _BY_ACTION.get(action, {})


def whole(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the fields that its line left out; what the line says itself stands.

    Adds to `record` where that can be done: each record read goes through here.
    """
    if "ecs.version" in record:
        return record
    constant = implied(record.get("event.action"), record.get("event.outcome"))
    if not record.keys().isdisjoint(IMPLIED):
        return {**constant, **record}
    record.update(constant)
    return record


def short(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without what `whole` gives back to it."""
    constant = implied(record.get("event.action"), record.get("event.outcome"))
    if record.get("ecs.version") != constant.get("ecs.version"):
        return dict(record)
    return {
        name: value for name, value in record.items()
        if name not in IMPLIED or name not in constant or value != constant[name]
    }  # fmt: skip


_last_second: list[tuple[int, str]] = [(-1, "")]  # one pair, swapped whole: any thread may read it
_latest: list[tuple[float, str]] = [(-1.0, "")]  # likewise, for the very same time


def timestamp(wall: float) -> str:
    """Return `wall` (seconds since the epoch) as RFC 3339 in UTC with milliseconds: `2026-01-31T08:15:00.123Z`."""
    latest, stamp = _latest[0]
    if wall == latest:
        return stamp
    second, millis = divmod(int(wall * 1000.0), 1000)
    known, prefix = _last_second[0]
    if second != known:
        prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        _last_second[0] = (second, prefix)
    stamp = f"{prefix}{millis:03d}Z"
    _latest[0] = (wall, stamp)
    return stamp


def event(action: Action, wall: float, fields: Mapping[str, Any] | None = None, /, **named: Any) -> dict[str, Any]:
    """Build the record of `action` at `wall`; fields whose value is None are left out.

    Dotted names go in as a mapping (`event(a, wall, {"user.id": uid})`) or by `**`. A field given overrides the
    action's constant one, so that a decision can say `event.type = ["access", "denied"]`.
    """
    record: dict[str, Any] = {"@timestamp": timestamp(wall), **BASE[action]}
    for name, value in {**(fields or {}), **named}.items():
        if value is not None:
            record[name] = told(value) if name in GIVEN else value
    return record


def told(value: Any) -> Any:
    """Return a JSON value from outside as a record may have it.

    Numbers of persons are hidden, what UTF-8 cannot carry is spelled as by `text`, and of a text longer than
    `LONGEST` characters the beginning is kept, with the SHA-256 (hex) and length of the whole.
    """
    if isinstance(value, str):
        return masked(_bounded(value))
    if isinstance(value, dict):
        return {told(name) if isinstance(name, str) else name: told(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [told(item) for item in value]
    return value


def _bounded(value: str) -> str:
    try:
        whole_text = value.encode()
    except UnicodeEncodeError:
        value = text(value)
        whole_text = value.encode()
    if len(value) <= LONGEST:
        return value
    return f"{value[:LONGEST]}… (sha256:{hashlib.sha256(whole_text).hexdigest()}, {len(value)} characters)"


def text(value: bytes | str) -> str:
    r"""Return `value` as text that UTF-8 can carry, losing nothing.

    Bytes that are not UTF-8 become `\xNN`, lone surrogates `\uNNNN`, and a backslash that was there `\\`, so that two
    different values never look alike. Control characters, quotes and line separators are left to the JSON encoder,
    whose escapes keep a record one line.
    """
    if isinstance(value, bytes):
        if b"\\" in value:
            value = value.replace(b"\\", b"\\\\")
        return value.decode(errors="backslashreplace")
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    return value if value.isascii() else value.encode(errors="backslashreplace").decode()


_PYTHON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "keyword": (str,),
    "text": (str,),
    "ip": (str,),
    "date": (str,),
    "long": (int,),
    "float": (int, float),
    "boolean": (bool,),
    "object": (dict, list),
}


def _fits(value: object, kind: str) -> bool:
    if kind.endswith("[]"):
        return isinstance(value, list | tuple | frozenset) and all(_fits(item, kind[:-2]) for item in value)
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON_TYPES[kind])


def check(record: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a record's shape, one sentence a fault; an empty list means none. For tests."""
    needed = ("@timestamp", "event.action", "event.dataset", "event.kind", "event.category", "event.type")
    faults = [f"{name}: missing" for name in needed if name not in record]
    action = record.get("event.action")
    if action is not None and action not in {member.value for member in Action}:
        faults.append(f"event.action: got {action!r}, expected one of audit.event.Action")
    for name, value in record.items():
        kind = FIELDS.get(name)
        if kind is None:
            faults.append(f"{name}: not a field of audit.ecs.FIELDS")
        elif not _fits(value, kind):
            faults.append(f"{name}: got {type(value).__name__}, expected {kind}")
    return faults
