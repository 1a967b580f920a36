"""The disks: room for records, and how long a write takes to be on them."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from audit.room import Level, look
from gateway.doctor_parts.finding import Finding, Told, fault, good, note
from gateway.settings import Settings
from gateway.settings_parts.bounds import Writes

SLOW = 0.05  # seconds of one sync at which people begin to wait for synced records
_SAMPLES = 9
_BLOCK = b"\0" * 4096


def examine(settings: Settings, clock: Callable[[], float]) -> Iterator[Finding]:
    """Yield how full the disks of records, proofs and state are, and how quickly the first takes a write.

    `clock` gives monotonic seconds. A file without a name is written and gone with this call.
    """
    paths = settings.paths
    for name, folder in (("journal", paths.journal), ("log", paths.log), ("state", paths.state)):
        yield _room(f"room.{name}", folder, settings)
    yield _speed(paths.journal, settings.timeouts.journal_stall, clock)


def _room(check: str, folder: Path, settings: Settings) -> Finding:
    more = Told(
        "記録を写して保存期間を短くするか、ディスクを増やす", "enlarge the disk, or keep records for a shorter time"
    )
    try:
        room = look(folder)
    except OSError as error:
        return fault(check, Told(f"{folder}: {error.strerror}", f"{folder}: {error.strerror}"), more)
    used = Told(f"使用率 {room.used:.0%}({folder})", f"{room.used:.0%} in use ({folder})")
    if settings.journal.reserve(Writes.STAFF).level(room, Level.AMPLE) is Level.REFUSING:
        return fault(check, used, more)
    if room.used * 100 > settings.journal.disk_alarm_percent:
        return note(check, used, more)
    return good(check, *used)


def _speed(folder: Path, stall: float, clock: Callable[[], float]) -> Finding:
    check = "room.sync"
    remedy = Told("記録を専用の速いディスクへ移す", "move the journal to a fast disk of its own")
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            median = statistics.median(_synced(probe.fileno(), clock) for _ in range(_SAMPLES))
    except OSError as error:
        return fault(check, Told(f"{folder}: {error.strerror}", f"{folder}: {error.strerror}"), remedy)
    shown = Told(
        f"書き込みの確定 {median * 1000:.1f} ms(中央値)", f"a synced write takes {median * 1000:.1f} ms (median)"
    )
    if median >= stall:
        return fault(check, shown, remedy)
    return note(check, shown, remedy) if median >= SLOW else good(check, *shown)


def _synced(descriptor: int, clock: Callable[[], float]) -> float:
    begun = clock()
    os.write(descriptor, _BLOCK)
    os.fdatasync(descriptor)
    return clock() - begun
