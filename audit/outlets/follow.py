"""The task that brings what the journals have grown by to one outlet, for ever, and says how it is doing.

Order: the outlet takes a portion, then the place behind it is made durable. A crash between the two: the next start
opens the outlet at its mark, and sends from the place. What an outlet cannot know to have arrived stays in doubt for a
while (`doubt`): when its connection breaks in that time, it is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from audit import durable
from audit.documents import Document
from audit.elastic.cursor import Cursor, CursorInvalid
from audit.elastic.shipping import records_between
from audit.elastic.source import DocumentSource
from audit.outlets.place import Place, load, save
from audit.segment import Link

PORTION: Final = 1 << 20  # bytes of journal lines
_IDLE: Final = 0.3  # seconds between looks at journals that did not grow
BACKOFF_FLOOR: Final = 0.5
BACKOFF_CEILING: Final = 30.0  # seconds between tries of a receiver that is away
_STATUS_EVERY: Final = 1.0

_LOG = logging.getLogger("sekisho.auditor")


class OutletUnavailable(Exception):
    """It takes nothing now; what was sent and is in doubt has to be sent again. The text names no secret."""


class Outlet(Protocol):
    """Where documents go. Used by one task."""

    name: str
    doubt: float  # seconds after `send` in which what was sent may still turn out lost

    async def open(self, mark: Mapping[str, int]) -> Mapping[str, int]:
        """Stand ready behind `mark`; return the mark from which on it writes. Raises OutletUnavailable, OSError."""

    async def send(self, documents: Sequence[Document]) -> Mapping[str, int]:
        """Take these in; return the mark behind them. Raises OutletUnavailable, OSError."""

    async def check(self) -> None:
        """Raise OutletUnavailable where what was sent may be lost."""

    async def turn(self) -> Mapping[str, int] | None:
        """Do what is due when everything sent is settled and its place durable; return a new mark where there is one.

        Raises OSError.
        """

    async def close(self) -> None:
        """Let go."""


class Following:
    """One outlet's task."""

    def __init__(
        self, journals: Path, folder: Path, outlet: Outlet, ends: Callable[[], Mapping[str, Link]],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        """Keep place and status in `folder`, which is made. Raises OSError."""
        durable.make_directory(folder)
        self._journals, self._outlet, self._ends, self._clock = journals, outlet, ends, clock
        self._path = folder / f"{outlet.name}.json"
        self._status = folder / f"{outlet.name}.status.json"
        self._saved = Place()
        self._in_doubt: deque[tuple[float, Place]] = deque()
        self._sent = 0
        self._oldest = ""
        self._fault = ""

    async def run(self) -> None:
        """Follow for ever; whatever fails is told in the status and begun anew."""
        telling = asyncio.create_task(self._tell())
        tries = 0
        try:
            while True:
                before = self._sent
                try:
                    await self._follow()
                except (OutletUnavailable, CursorInvalid, OSError) as error:
                    self._fault = f"{type(error).__name__}: {error}"
                except Exception as error:  # noqa: BLE001  # logged and told; one outlet must not take others down
                    _LOG.exception("the outlet %s failed and is begun anew", self._outlet.name)
                    self._fault = type(error).__name__
                tries = tries + 1 if self._sent == before else 1
                await asyncio.sleep(min(BACKOFF_CEILING, BACKOFF_FLOOR * 2.0 ** min(tries - 1, 16)))
        finally:
            telling.cancel()
            await self._outlet.close()

    async def _follow(self) -> None:
        self._in_doubt.clear()
        self._saved = await asyncio.to_thread(load, self._path)
        await self._keep(Place(self._saved.cursor, await self._outlet.open(self._saved.mark)))
        source = await asyncio.to_thread(DocumentSource, self._journals, self._saved.cursor)
        place = self._saved
        while True:
            portion = await asyncio.to_thread(source.portion, self._clock(), PORTION)
            if portion.documents or portion.links != place.cursor.done:
                self._oldest = portion.oldest
                mark = await self._outlet.send(portion.documents) if portion.documents else place.mark
                place = Place(Cursor(portion.links, portion.open_requests), mark)
                self._in_doubt.append((time.monotonic() + self._outlet.doubt, place))
                self._sent += len(portion.documents)
            place = await self._settle(place)
            self._fault = "; ".join(str(error) for error in source.refused.values())
            if not portion.more:
                self._oldest = ""
                await asyncio.sleep(_IDLE)

    async def _settle(self, place: Place) -> Place:
        """Make durable what is no longer in doubt; return the place from which on is sent."""
        settled = None
        while self._in_doubt and self._in_doubt[0][0] <= time.monotonic():
            settled = self._in_doubt.popleft()[1]
        if settled is not None:
            await self._outlet.check()
            await self._keep(settled)
        moved = None if self._in_doubt else await self._outlet.turn()
        if moved is None:
            return place
        place = Place(place.cursor, moved)
        await self._keep(place)
        return place

    async def _keep(self, place: Place) -> None:
        if place != self._saved:
            await asyncio.to_thread(save, self._path, place)
            self._saved = place

    async def _tell(self) -> None:
        while True:
            try:
                durable.publish(self._status, orjson.dumps(await asyncio.to_thread(self.status)))
            except OSError as error:
                _LOG.warning("the status of the outlet %s could not be written: %s", self._outlet.name, error)
            await asyncio.sleep(_STATUS_EVERY)

    def status(self) -> dict[str, Any]:
        """Return how it is doing, as JSON values: lag in seconds and records, documents since the start, last fault."""
        now, oldest = self._clock(), self._oldest
        seconds = max(0.0, now - datetime.fromisoformat(oldest).timestamp()) if oldest else 0.0
        return {
            "at": now, "outlet": self._outlet.name, "lag_seconds": round(seconds, 3), "sent": self._sent,
            "lag_records": records_between(self._journals, self._saved.cursor.done, self._ends()),
            "fault": self._fault,
        }  # fmt: skip
