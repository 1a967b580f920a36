"""Carries every document to the index exactly once, whatever fails on the way.

What the journals have grown by is read in portions, each sent in batches that travel over several connections at once
(`delivery`). Their order means nothing, as ids are unique; but the cursor moves only past a portion that is wholly
stored or set aside, and past all before it. While batches travel, the next portion is read and packed in a thread.

Order, and why a crash or a fault between two steps loses and doubles nothing:

1. `cursor.sending` is made durable: from here on everything up to there may be stored.
2. Bulk `create`. Stored, already there and rejected are final; put off (429, a write block) is sent again.
   Where the outcome is not known (a cut answer, a time-out, a 5xx), what is missing is found out first, batch by batch:
   `create` refuses a second copy only within one backing index, and a rollover may have come in between.
3. Rejected documents are appended to the dead letters, durably.
4. `cursor.done` is made durable, at the latest with the next portion's `sending`. A crash before it: the next start
   looks up everything between `done` and `sending`, as in 2, once no attempt of the former run can be on its way.

A document that the clock calls for (`<id>.open`) is always looked up: after a crash it may be made at another moment.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson

from audit.documents import Document
from audit.elastic import cursor as cursors
from audit.elastic import delivery
from audit.elastic.cursor import Cursor
from audit.elastic.delivery import Counts, Delivery
from audit.elastic.index import Index
from audit.elastic.source import DocumentSource, Portion
from audit.segment import Link
from audit.stored import Recent

PORTION: Final = 2 << 20  # bytes of journal lines
AHEAD: Final = 3  # portions under way: they are in memory, and what a crash leaves in doubt
STEP: Final = 16  # portions after which everything is waited for once
_BY_CLOCK: Final = ".open"


@dataclass(frozen=True, slots=True)
class ShipperPaths:
    """Its files: the cursor, and one line of JSON for each document that the index will not take."""

    cursor: Path
    dead_letters: Path


class Shipper:
    """One way to one index, with a cursor of its own. A step that raised leaves it of no use: make another."""

    def __init__(
        self, journals: Path, paths: ShipperPaths, index: Index, clock: Callable[[], float],
        recent: Recent | None = None,
    ) -> None:  # fmt: skip
        """Load the cursor; raise `audit.elastic.cursor.CursorInvalid`, OSError. What `recent` has is not read again."""
        self._path = paths.cursor
        self._clock = clock
        self._cursor = cursors.load(paths.cursor)
        self._saved = self._cursor
        self._doubtful_until: Mapping[str, Link] = self._cursor.sending or {}
        self._read = self._cursor.done  # how far the journals are read; `_cursor.done` follows
        self._settled_at = time.monotonic() + (delivery.SETTLE if self._doubtful_until else 0.0)
        self._ahead: asyncio.Task[Portion] | None = None
        self._delivery = Delivery(index, paths.dead_letters, clock)
        self.source = DocumentSource(journals, self._cursor, recent)
        self.behind = False  # more is there to be read at once
        self.waiting_since = ""  # `@timestamp` of the earliest record that is being delivered, "" = none is

    @property
    def counts(self) -> Counts:
        """What was done since the start."""
        return self._delivery.counts

    @property
    def done(self) -> Mapping[str, Link]:
        """How far every writer's journal is stored or set aside."""
        return self._cursor.done

    def pace(self) -> dict[str, int]:
        """Return the bounds of the next request: its bytes, and how many may be under way."""
        return {"batch_bytes": self._delivery.pace.size, "lanes": self._delivery.pace.lanes}

    async def step(self) -> int:
        """Send what the journals have grown by; return the number of documents. Waits as long as the index is away."""
        under_way: deque[tuple[Portion, asyncio.Task[None]]] = deque()
        sent = 0
        try:
            for _ in range(STEP):
                portion = await self._next()
                if portion is None:
                    break
                under_way.append((portion, await self._begin(portion)))
                sent += len(portion.documents)
                self._note_oldest(under_way)
                while len(under_way) > AHEAD or (under_way and under_way[0][1].done()):
                    await self._finish(under_way)
                if not self.behind:
                    break
            while under_way:
                await self._finish(under_way)
        finally:
            for _, task in under_way:
                task.cancel()
            await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)
        if not sent:
            await self._save(self._doubtful_until if self._doubtful(self._read) else None)
        return sent

    async def deliver(self, documents: Sequence[Document]) -> None:
        """Bring documents that stand in no journal to an end; each is looked up first: twice is harmless."""
        await self._delivery.all(documents, doubtful=True)

    # -- portions -------------------------------------------------------------------------------------------------

    async def _next(self) -> Portion | None:
        """Return the next portion, or None when the journals did not grow; the one behind it is read meanwhile."""
        reading = self._ahead or asyncio.create_task(asyncio.to_thread(self._load))
        self._ahead = None
        portion = await reading
        self.behind = portion.more
        if portion.links == self._read and not portion.documents:
            return None
        if portion.more:
            self._ahead = asyncio.create_task(asyncio.to_thread(self._load))
        return portion

    def _load(self) -> Portion:
        portion = self.source.portion(self._clock(), PORTION)
        packed = (replace(document, packed=orjson.dumps(document.body)) for document in portion.documents)
        return replace(portion, documents=tuple(packed))

    async def _begin(self, portion: Portion) -> asyncio.Task[None]:
        doubtful = self._doubtful(self._read)
        self._read = portion.links
        if portion.documents:
            await self._save(self._farthest(portion))
        return asyncio.create_task(self._send(portion, doubtful))

    async def _send(self, portion: Portion, doubtful: bool) -> None:
        if doubtful:
            await asyncio.sleep(max(0.0, self._settled_at - time.monotonic()))
        by_clock = [each for each in portion.documents if each.id.endswith(_BY_CLOCK)]
        others = [each for each in portion.documents if not each.id.endswith(_BY_CLOCK)] if by_clock else None
        await self._delivery.all(portion.documents if others is None else others, doubtful=doubtful)
        await self._delivery.all(by_clock, doubtful=True)

    async def _finish(self, under_way: deque[tuple[Portion, asyncio.Task[None]]]) -> None:
        """Wait for the earliest portion, and move past it."""
        portion, task = under_way[0]
        await task
        under_way.popleft()
        self._cursor = Cursor(portion.links, portion.open_requests, self._cursor.sending)
        self._note_oldest(under_way)

    def _note_oldest(self, under_way: deque[tuple[Portion, asyncio.Task[None]]]) -> None:
        self.waiting_since = min((portion.oldest for portion, _ in under_way if portion.oldest), default="")

    # -- the cursor -----------------------------------------------------------------------------------------------

    def _doubtful(self, done: Mapping[str, Link]) -> bool:
        """Whether a former run may have sent what follows `done`."""
        return any(_before(done.get(name), link) for name, link in self._doubtful_until.items())

    def _farthest(self, portion: Portion) -> Mapping[str, Link]:
        """Return the farthest place that this or a former run may have sent."""
        ends = dict(portion.links)
        for name, link in self._doubtful_until.items():
            if _before(ends.get(name), link):
                ends[name] = link
        return ends

    async def _save(self, sending: Mapping[str, Link] | None) -> None:
        self._cursor = replace(self._cursor, sending=sending)
        if self._cursor != self._saved:
            await asyncio.to_thread(cursors.save, self._path, self._cursor)
            self._saved = self._cursor


def _before(link: Link | None, other: Link) -> bool:
    return link is None or (link.epoch, link.seq) < (other.epoch, other.seq)
