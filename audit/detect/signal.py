"""One finding of a detector: about whom, from which records, in words, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What was found. A name is never changed: cases and reports rely on it. Append only."""

    SESSION_ON_TWO_DEVICES = "session_on_two_devices"
    SESSION_ON_TWO_ADDRESSES = "session_on_two_addresses"
    SESSION_ON_TWO_BROWSERS = "session_on_two_browsers"
    ENDED_SESSION_USED = "ended_session_used"
    DISABLED_ACCOUNT_TRIED = "disabled_account_tried"
    REFUSALS_OF_USER = "refusals_of_user"
    REFUSALS_OF_ADDRESS = "refusals_of_address"
    SIGN_IN_FAILURES_OF_ADDRESS = "sign_in_failures_of_address"
    TRAIL_BROKEN = "trail_broken"
    RECORDS_LOST = "records_lost"
    COPY_LACKS = "copy_lacks"
    COPY_CHANGED = "copy_changed"
    COPY_DOUBLED = "copy_doubled"
    COPY_FOREIGN = "copy_foreign"
    LOG_CONTRADICTED = "log_contradicted"
    NOT_KEPT = "not_kept"


class Severity(StrEnum):
    """How soon a person should look."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Signal:
    """One finding. `at` is the time of the record that completed it, in seconds since the epoch.

    `joins` are the keys (`user:…`, `session:…`, `address:…`) over which signals become one case; `subject` is the one
    it is about. `evidence` are event ids, oldest first. `fields` name person, session, device, address as records do.
    """

    kind: Kind
    severity: Severity
    subject: str
    at: float
    evidence: tuple[str, ...]
    message: str
    command: str
    joins: tuple[str, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """One record as detectors get it: its fields, the id under which it can be looked up, its time."""

    record: Mapping[str, Any]
    id: str
    at: float

    def text(self, name: str) -> str:
        """Return a field as text, "" where the record has none."""
        value = self.record.get(name)
        return value if isinstance(value, str) else ""


_NAMED = ("user.id", "user.name", "sekisho.session.id", "device.id", "source.ip")


def named(seen: Seen) -> dict[str, Any]:
    """Return the fields of a record that name who and where."""
    return {name: seen.record[name] for name in _NAMED if seen.record.get(name)}


def joins_of(seen: Seen) -> tuple[str, ...]:
    """Return the keys of person and session. Not of the address: a whole city may come from one."""
    pairs = (("user", "user.id"), ("session", "sekisho.session.id"))
    return tuple(f"{key}:{seen.text(name)}" for key, name in pairs if seen.text(name))
