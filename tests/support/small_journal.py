"""One small journal for tests: opened in a loop of its own, on a disk that can be held or made to fail."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from audit.event import Action, event
from audit.journal import Journal
from audit.reader import JournalReader
from audit.segment import body_of

Told = list[BaseException | None]
PATIENT = 30.0  # seconds that the disk may take where a test does not say otherwise


def make(root: Path, **options: Any) -> Journal:
    """Return a journal that is not open; its own records say 00:00:07. A slow disk is no fault of it."""
    return Journal(
        root,
        "worker-0",
        **{"segment_bytes": 1 << 20, "segment_age": 3600.0, "clock": lambda: 7.0, "stall_limit": PATIENT, **options},
    )


def bodies(root: Path) -> list[dict[str, Any]]:
    """Return every record's body, read back and checked."""
    reader, found = JournalReader(root, "worker-0"), []
    while records := reader.read():
        found += [orjson.loads(body_of(record.line)) for record in records]
    return found


def note(number: int) -> dict[str, Any]:
    """Return a record with a number in it."""
    return event(Action.REQUEST_DECIDED, 1.0, {"sekisho.count": number})


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, at most thirty seconds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (a thread's state: nothing to await)
            await asyncio.sleep(0.002)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test's body in a loop, at most a minute and a half."""

    async def bounded() -> None:
        async with asyncio.timeout(90):
            await main()

    asyncio.run(bounded())


class Disk:
    """The real disk, but its syncs can be held or made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fail = 0
        self.held = 0  # syncs that wait for it to be open
        self.open = threading.Event()
        self.open.set()
        self.syncs = 0
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._fdatasync)

    def _fdatasync(self, descriptor: int) -> None:
        self.held += 1
        self.open.wait(60)
        self.held -= 1
        self.syncs += 1
        if self.fail:
            raise OSError(self.fail, os.strerror(self.fail))
        self._real(descriptor)
