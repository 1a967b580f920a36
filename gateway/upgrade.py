"""Bringing an installation's store to the shape that this version of the program expects, while nothing runs.

The store is copied first: an upgrade that fails halfway leaves the copy, and the older program still opens it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from audit.event import Action, event
from gateway.first_state import record
from gateway.settings import Settings
from gateway.state import migration, schema

_COMMAND = "state.upgrade"


class StillRunning(Exception):
    """The steward answers: the store belongs to it."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """Schema before and after; `copy` is None where nothing had to be done."""

    before: str
    after: str
    copy: Path | None


def upgrade_store(settings: Settings, now: float) -> Upgraded:
    """Upgrade the store. Raises StillRunning, FileNotFoundError, OSError, sqlite3.Error, JournalUnhealthy."""
    path = settings.paths.store
    path.stat()
    if _answers(settings.paths.steward_socket):
        raise StillRunning(str(settings.paths.steward_socket))
    before = migration.version_of(path)
    if before == schema.HEAD:
        return Upgraded(before, before, None)
    fields = {"sekisho.admin.command": _COMMAND, "sekisho.admin.result": f"{before} -> {schema.HEAD}"}
    asyncio.run(record(settings.paths.journal, [event(Action.ADMIN_REQUESTED, now, fields)]))
    copy = _copied(path, before)
    migration.upgrade(path)
    asyncio.run(record(settings.paths.journal, [event(Action.ADMIN_DONE, now, {**fields, "event.outcome": "success"})]))
    return Upgraded(before, migration.version_of(path), copy)


def _copied(path: Path, name: str) -> Path:
    copy = path.with_name(f"{path.name}.before-{name or 'first'}")
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
