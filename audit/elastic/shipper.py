"""Carries every document to the index exactly once, whatever fails on the way.

Order, and why a crash or a fault between two steps loses and doubles nothing:

1. `cursor.sending` is made durable: from here on the batch may be stored.
2. Bulk `create`. Stored, already there and rejected are final; put off (429, a write block) is sent again.
   Where the outcome is not known (a cut answer, a time-out, a 5xx), what is missing is found out first: `create`
   refuses a second copy only within one backing index, and a rollover may have come in between.
3. Rejected documents are appended to the dead letters, durably.
4. `cursor.done` is made durable. A crash before it: the next start looks the batch up, as in 2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from audit import durable
from audit.documents import ID_BYTES_MAX, Document
from audit.elastic import cursor as cursors
from audit.elastic.cursor import Cursor
from audit.elastic.index import Index, IndexFault, IndexUnavailable
from audit.elastic.outcome import AnswerInvalid, Rejected, outcome
from audit.elastic.source import DocumentSource, Portion
from audit.segment import Link

BATCH_BYTES: Final = 4 * 1024 * 1024
BATCH_DOCUMENTS: Final = 1000
CHUNK: Final = 1 << 20
BACKOFF_FLOOR: Final = 0.2
BACKOFF_CEILING: Final = 5.0  # seconds: whoever repaired the cluster should not have to wait
SETTLE: Final = 5.0  # seconds an attempt whose answer was lost may still be running on the server


@dataclass(slots=True)
class Counts:
    """What the shipper did since it started."""

    created: int = 0
    already: int = 0
    rejected: int = 0
    put_off: int = 0
    looked_up: int = 0
    faults: int = 0
    last_fault: str = ""


@dataclass(frozen=True, slots=True)
class ShipperPaths:
    """Its files: the cursor, and one line of JSON for each document that the index will not take."""

    cursor: Path
    dead_letters: Path


def batches(documents: Sequence[Document]) -> Iterator[tuple[Document, ...]]:
    """Cut `documents` into batches of bounded count and size."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        weight = len(orjson.dumps(document.body))
        if batch and (size + weight > BATCH_BYTES or len(batch) >= BATCH_DOCUMENTS):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(document)
        size += weight
    if batch:
        yield tuple(batch)


class Shipper:
    """One way to one index, with a cursor of its own."""

    def __init__(self, journals: Path, paths: ShipperPaths, index: Index, clock: Callable[[], float]) -> None:
        """Load the cursor; raise `audit.elastic.cursor.CursorInvalid`, OSError."""
        self._paths = paths
        self._index = index
        self._clock = clock
        self._cursor = cursors.load(paths.cursor)
        self._doubtful_until: Mapping[str, Link] = self._cursor.sending or {}
        self.source = DocumentSource(journals, self._cursor)
        self.counts = Counts()
        self.waiting_since = ""  # `@timestamp` of the earliest record that is being delivered, "" = none is

    @property
    def done(self) -> Mapping[str, Link]:
        """How far every writer's journal is stored or set aside."""
        return self._cursor.done

    async def step(self) -> int:
        """Send what the journals have grown by; return the number of documents. Waits as long as the index is away."""
        portion = await asyncio.to_thread(self.source.portion, self._clock(), CHUNK)
        if portion.links == self._cursor.done and not portion.documents:
            return 0
        self.waiting_since = portion.oldest
        doubtful = self._doubtful(self._cursor.done)
        if portion.documents:
            await self._save(Cursor(self._cursor.done, self._cursor.open_requests, self._sending(portion)))
            for batch in batches(portion.documents):
                await self._deliver(batch, doubtful=doubtful)
        await self._save(Cursor(portion.links, portion.open_requests, self._still_doubtful(portion)))
        self.waiting_since = ""
        return len(portion.documents)

    async def deliver(self, documents: Sequence[Document]) -> None:
        """Bring documents that stand in no journal to an end; each is looked up first: twice is harmless."""
        for batch in batches(documents):
            await self._deliver(batch, doubtful=True)

    def _doubtful(self, done: Mapping[str, Link]) -> bool:
        """Whether a former run may have sent what follows `done`."""
        return any(_before(done.get(name), link) for name, link in self._doubtful_until.items())

    def _sending(self, portion: Portion) -> Mapping[str, Link]:
        """Return the farthest place that this or a former run may have sent."""
        ends = dict(portion.links)
        for name, link in self._doubtful_until.items():
            if _before(ends.get(name), link):
                ends[name] = link
        return ends

    def _still_doubtful(self, portion: Portion) -> Mapping[str, Link] | None:
        return self._doubtful_until if self._doubtful(portion.links) else None

    async def _save(self, cursor: Cursor) -> None:
        await asyncio.to_thread(cursors.save, self._paths.cursor, cursor)
        self._cursor = cursor

    async def _deliver(self, batch: tuple[Document, ...], *, doubtful: bool) -> None:
        """Bring every document of `batch` to an end: stored, or set aside with its reason."""
        left: tuple[Document, ...] = tuple(d for d in batch if len(d.id.encode()) <= ID_BYTES_MAX)
        self._set_aside([Rejected(d, 0, "the id is too long") for d in batch if d not in left])
        tries = 0
        while left:
            try:
                left = await self._attempt(left, doubtful=doubtful)
                doubtful = False
                if not left:
                    return
                tries += 1
                await asyncio.sleep(_backoff(tries))
            except IndexUnavailable as fault:
                tries += 1
                self._note(str(fault))
                if fault.fault in (IndexFault.TOO_LARGE, IndexFault.BAD_BATCH):
                    await self._divide(left, fault, doubtful=doubtful)
                    return
                doubtful = doubtful or fault.fault is IndexFault.UNCERTAIN
                pause = SETTLE if fault.fault is IndexFault.UNCERTAIN else 0.0
                await asyncio.sleep(max(pause, fault.retry_after or 0.0, _backoff(tries)))
            except AnswerInvalid as fault:
                tries += 1
                self._note(str(fault))
                doubtful = True
                await asyncio.sleep(max(SETTLE, _backoff(tries)))

    async def _attempt(self, left: tuple[Document, ...], *, doubtful: bool) -> tuple[Document, ...]:
        """Send once; return what has to be sent again."""
        if doubtful:
            known = await self._index.stored(left)
            self.counts.looked_up += len(left)
            self.counts.already += len(known)
            left = tuple(document for document in left if document.id not in known)
            if not left:
                return ()
        result = outcome(left, await self._index.create(left))
        self.counts.created += len(result.created)
        self.counts.already += len(result.already)
        self.counts.put_off += len(result.again)
        if result.waiting_for:
            self._note(result.waiting_for)
        await asyncio.to_thread(self._set_aside, result.rejected)
        return result.again

    async def _divide(self, left: tuple[Document, ...], fault: IndexUnavailable, *, doubtful: bool) -> None:
        """Find the document that spoils a batch by halves; alone, it is set aside."""
        if len(left) == 1:
            await asyncio.to_thread(self._set_aside, [Rejected(left[0], 0, fault.detail)])
            return
        middle = len(left) // 2
        await self._deliver(left[:middle], doubtful=doubtful)
        await self._deliver(left[middle:], doubtful=doubtful)

    def _set_aside(self, rejected: Sequence[Rejected]) -> None:
        if not rejected:
            return
        lines = [
            orjson.dumps({
                "at": self._clock(), "id": each.document.id, "dataset": each.document.dataset, "status": each.status,
                "reason": each.reason, "body": each.document.body,
            }) + b"\n"
            for each in rejected
        ]  # fmt: skip
        durable.append(self._paths.dead_letters, b"".join(lines))
        self.counts.rejected += len(rejected)

    def _note(self, fault: str) -> None:
        self.counts.faults += 1
        self.counts.last_fault = fault


def _backoff(tries: int) -> float:
    return float(min(BACKOFF_CEILING, BACKOFF_FLOOR * 2.0 ** (tries - 1)))


def _before(link: Link | None, other: Link) -> bool:
    return link is None or (link.epoch, link.seq) < (other.epoch, other.seq)
