"""Legal holds: records that must not be deleted although their retention ends.

One file, `holds.json` beside the journals, written whole by who administers and read by the auditor before it deletes
anything. Both work under one lock (`holding`), so when adding a hold has returned, nothing that it names is deleted
any more. A file that cannot be read, or one that is gone although holds were kept here (the lock's file tells), is a
reason to delete nothing: `HoldsUnreadable`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from audit import durable
from audit.retention import RetentionClass, class_of

FILE: Final = "holds.json"
LOCK: Final = "holds.lock"
VERSION: Final = 1
_KEPT: Final = b"kept\n"  # in the lock's file, once there are holds to read
_SLACK: Final = 600.0  # seconds by which a writer's times may stand out of order: in doubt a record is held


class HoldsUnreadable(Exception):
    """Nobody can tell what is held: nothing may be deleted."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held. Times are seconds since the epoch, `since` inclusive, `until` exclusive; None = without end.

    `writers` and `classes` name whose records, together; both empty = everyone's.
    """

    id: str
    writers: tuple[str, ...]
    classes: tuple[RetentionClass, ...]
    since: float | None
    until: float | None
    case: str
    reason: str
    created_by: str
    created_at: float

    def names(self, writer: str) -> bool:
        """Tell whether records of this writer are held, of whichever time."""
        return not (self.writers or self.classes) or writer in self.writers or class_of(writer) in self.classes

    def holds(self, writer: str, first_at: float, last_at: float) -> bool:
        """Tell whether records of this writer from `first_at` to `last_at` are held, at least some of them."""
        return (
            self.names(writer)
            and (self.since is None or last_at + _SLACK >= self.since)
            and (self.until is None or first_at - _SLACK < self.until)
        )


def load(journals: Path) -> tuple[Hold, ...]:
    """Return the holds in order of making; raises `HoldsUnreadable`."""
    path = journals / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if _was_kept(journals):
            raise HoldsUnreadable(f"{path}: gone, expected the file that was kept here") from None
        return ()
    except OSError as error:
        raise HoldsUnreadable(f"{path}: {error.strerror}") from error
    try:
        saved = orjson.loads(data)
        if saved["v"] != VERSION:
            raise HoldsUnreadable(f"{path}: version: got {saved['v']}, expected {VERSION}")
        return tuple(_hold(item) for item in saved["holds"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise HoldsUnreadable(f"{path}: {type(error).__name__}: {error}") from error


def _was_kept(journals: Path) -> bool:
    try:
        return (journals / LOCK).stat().st_size > 0
    except FileNotFoundError:
        return False


def _hold(item: dict[str, Any]) -> Hold:
    classes = tuple(RetentionClass(name) for name in item["classes"])
    return Hold(**{**item, "writers": tuple(item["writers"]), "classes": classes})


@contextmanager
def holding(journals: Path) -> Iterator[None]:
    """Keep everyone else from changing holds, or deleting, meanwhile; raises OSError. Blocks while another does."""
    descriptor = os.open(journals / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not os.fstat(descriptor).st_size:
            _begin(journals, descriptor)
        yield
    finally:
        durable.close(descriptor)


def _begin(journals: Path, lock: int) -> None:
    """Make the file of an installation that never had one, and note in the lock that there is one from now on."""
    if not (journals / FILE).exists():
        save(journals, ())
    durable.write_all(lock, _KEPT)
    os.fsync(lock)
    durable.sync_directory(journals)


def add(journals: Path, hold: Hold) -> None:
    """Keep one more hold; durable when this returns. Raises `HoldsUnreadable`, OSError."""
    with holding(journals):
        save(journals, (*load(journals), hold))


def remove(journals: Path, identity: str) -> Hold | None:
    """Lift a hold and return it, None when there is none of this id; raises `HoldsUnreadable`, OSError."""
    with holding(journals):
        kept = load(journals)
        found = next((hold for hold in kept if hold.id == identity), None)
        if found is not None:
            save(journals, tuple(hold for hold in kept if hold is not found))
        return found


def save(journals: Path, holds: tuple[Hold, ...]) -> None:
    """Make exactly these holds durable; raises OSError. The caller is `holding`, unless there never was a file."""
    body = {"v": VERSION, "holds": [asdict(hold) for hold in holds]}
    durable.replace(journals / FILE, orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n", 0o600)
