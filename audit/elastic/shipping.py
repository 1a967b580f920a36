"""The auditor's task that keeps Elasticsearch up to date, and the file that says how it is doing.

It shares nothing with the signing of checkpoints but the process: whatever the cluster does, only this task waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from audit import durable, stored
from audit.dead_letters import letters_ever
from audit.elastic.checkpoints import CheckpointQueue
from audit.elastic.cursor import CursorInvalid
from audit.elastic.index import Index
from audit.elastic.shipper import Shipper, ShipperPaths
from audit.segment import Link, Segment, segments
from audit.stored import Recent

STATUS: Final = "status.json"
CURSOR: Final = "cursor.json"
DEAD_LETTERS: Final = "dead-letters.ndjson"
CHECKPOINTS: Final = "checkpoints.ndjson"
_IDLE: Final = 0.3  # seconds in which records gather: fewer, larger requests cost both sides less
_AGAIN: Final = 5.0  # seconds before a failed run of the task is begun anew
_STATUS_EVERY: Final = 1.0

_LOG = logging.getLogger("sekisho.auditor")


class Shipping:
    """Ships until cancelled. `ends` tells how far each writer's journal has grown, for the lag."""

    def __init__(
        self, journals: Path, folder: Path, index: Index, ends: Callable[[], Mapping[str, Link]],
        clock: Callable[[], float], recent: Recent | None = None,
    ) -> None:  # fmt: skip
        """Make `folder` for cursor, dead letters, queue and status. Raises OSError.

        `recent` is what the auditor's other readers have read.
        """
        durable.make_directory(folder)
        self._journals = journals
        self._folder = folder
        self._index = index
        self._ends = ends
        self._clock = clock
        self._recent = recent
        self._queue = CheckpointQueue(folder / CHECKPOINTS)
        self._shipper: Shipper | None = None
        self._fault = ""
        self._letters = letters_ever(folder / DEAD_LETTERS)

    def checkpoint(self, note: str) -> None:
        """Queue a signed checkpoint; what cannot be queued is told in the status."""
        try:
            self._queue.put(note, self._clock())
        except OSError as error:
            self._fault = f"checkpoint not queued: {error.strerror}"

    async def run(self) -> None:
        """Ship for ever; a fault of our own disk or code is told and begun anew, never passed on."""
        status = asyncio.create_task(self._tell())
        try:
            while True:
                try:
                    await self._ship()
                except (CursorInvalid, OSError) as error:
                    self._fault = f"{type(error).__name__}: {error}"
                except Exception as error:  # noqa: BLE001  # logged and told; the copy must not take the auditor down
                    _LOG.exception("shipping failed and is begun anew")
                    self._fault = f"{type(error).__name__}"
                await asyncio.sleep(_AGAIN)
        finally:
            status.cancel()

    async def _ship(self) -> None:
        paths = ShipperPaths(self._folder / CURSOR, self._folder / DEAD_LETTERS)
        shipper = await asyncio.to_thread(Shipper, self._journals, paths, self._index, self._clock, self._recent)
        self._shipper = shipper
        both = [asyncio.create_task(self._records(shipper)), asyncio.create_task(self._checkpoints(shipper))]
        try:
            await asyncio.gather(*both)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _records(self, shipper: Shipper) -> None:
        while True:
            await shipper.step()
            self._fault = ""
            if not shipper.behind:
                await asyncio.sleep(_IDLE)

    async def _checkpoints(self, shipper: Shipper) -> None:
        """Send checkpoints as they come: however much else is waiting, the latest one is kept elsewhere soon."""
        while True:
            if waiting := self._queue.waiting():
                await shipper.deliver(waiting)
                self._queue.sent(waiting)
            await asyncio.sleep(_IDLE)

    async def _tell(self) -> None:
        while True:
            try:
                durable.publish(self._folder / STATUS, orjson.dumps(await asyncio.to_thread(self.status)))
            except OSError as error:
                _LOG.warning("the shipping status could not be written: %s", error)
            await asyncio.sleep(_STATUS_EVERY)

    def status(self) -> dict[str, Any]:
        """Return how it is doing, as JSON values: lag in seconds and records, counts since the start, last fault."""
        now, shipper = self._clock(), self._shipper
        told: dict[str, Any] = {"at": now, "fault": self._fault, "checkpoints_waiting": len(self._queue)}
        if shipper is None:
            return told
        waiting = shipper.waiting_since
        seconds = max(0.0, now - datetime.fromisoformat(waiting).timestamp()) if waiting else 0.0
        return told | {
            "lag_seconds": round(seconds, 3),
            "lag_records": records_between(self._journals, shipper.done, self._ends()),
            "dead_letters_total": self._letters + shipper.counts.rejected,
            "unreadable": {name: str(error) for name, error in shipper.source.refused.items()},
            **asdict(shipper.counts),
            **shipper.pace(),
        }


def records_between(journals: Path, done: Mapping[str, Link], ends: Mapping[str, Link]) -> int:
    """Return how many records stand after `done` up to `ends`, over all writers."""
    total = 0
    for name, end in ends.items():
        start = done.get(name)
        epoch, seq = (start.epoch, start.seq) if start is not None else (1, 0)
        if epoch < end.epoch:
            last = {segment.epoch: segment for segment in segments(journals / name)}
            for number in range(epoch, end.epoch):
                if number in last:
                    total += max(0, last[number].first_seq - 1 + _lines_of(last[number]) - seq)
                seq = 0
        total += max(0, end.seq - seq)
    return total


@lru_cache(maxsize=1000)
def _lines_of(segment: Segment) -> int:
    """Count the records of an ended epoch's last segment: its name tells the first only, and no other follows."""
    return stored.count(segment)
