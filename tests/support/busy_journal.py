"""Journals of busy workers, laid down quickly: records as the gatekeeper writes them, with ids and times of their own.

Their shape is that of `tests/support/passages.py`, their chain and file names `audit.segment`'s. So a million records
cost seconds, and a shipper under test reads what it reads in production.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any, Final

import orjson

from audit.event import Action, event, short, timestamp
from audit.segment import GENESIS, SALT, encode_all, head, name_of
from tests.support.passages import passages

_OPEN: Final = 20  # requests that are open at once
_OWN: Final = ("v", "writer", "epoch", "seq", "prev")


def _templates() -> tuple[dict[str, Any], dict[str, Any]]:
    bodies = [orjson.loads(line)["body"] for line in passages()]
    decided, completed = ({k: v for k, v in body.items() if k not in _OWN} for body in (bodies[0], bodies[3]))
    return decided, completed


class BusyWorker:
    """One writer's journal that grows by as many records as are asked for: of ten requests nine pass, one is refused.

    Each forwarded request's completion stands twenty requests behind its decision, so that some are always open.
    """

    def __init__(self, root: Path, writer: str, segment_bytes: int = 8 << 20) -> None:
        """Make the writer's folder under `root`."""
        self.writer, self.records, self.requests = writer, 0, 0
        self._folder = root / writer
        self._folder.mkdir(parents=True)
        self._segment_bytes = segment_bytes
        self._first = 1
        self._finishing = False
        self._size = 0
        self._prev = GENESIS.hex().encode()
        self._waiting: deque[str] = deque()
        self._decided, self._completed = _templates()

    def write(self, count: int, wall: float) -> None:
        """Append `count` records of the moment `wall`, in seconds since the epoch; sealing segments on the way."""
        while count > 0:
            lot = min(count, 5000)
            events = [(b"", orjson.dumps(self._next(wall))) for _ in range(lot)]
            lines, self._prev = encode_all(
                head(self.writer, 1), self.records + 1, self._prev, os.urandom(SALT * lot), events
            )
            with (self._folder / name_of(1, self._first, "active")).open("ab") as file:
                file.write(lines)
            self.records += lot
            self._size += len(lines)
            count -= lot
            if self._size >= self._segment_bytes:
                self.seal()

    def finish(self, wall: float) -> None:
        """Complete the requests that are open."""
        self._finishing = True
        self.write(len(self._waiting), wall)
        self._finishing = False

    def seal(self) -> None:
        """Seal the segment that is being written."""
        active = self._folder / name_of(1, self._first, "active")
        active.chmod(0o400)
        active.rename(active.with_suffix(".jsonl"))
        self._first, self._size = self.records + 1, 0

    def _next(self, wall: float) -> dict[str, Any]:
        if len(self._waiting) > _OPEN or (self._waiting and self._finishing):
            return {**self._completed, "@timestamp": timestamp(wall), "http.request.id": self._waiting.popleft()}
        self.requests += 1
        name = f"{self.writer.upper()}R{self.requests:012d}"
        if self.requests % 50 == 0:
            return short(event(Action.SESSION_STARTED, wall, {"sekisho.session.id": name, "user.id": "u1"}))
        if self.requests % 10 == 0:
            refused = {"sekisho.verdict": "refuse", "event.outcome": "failure", "sekisho.reason": "device_stale"}
            return {**self._decided, **refused, "@timestamp": timestamp(wall), "http.request.id": name}
        self._waiting.append(name)
        return {**self._decided, "@timestamp": timestamp(wall), "http.request.id": name}
