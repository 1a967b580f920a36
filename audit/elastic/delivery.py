"""Brings batches of documents to their end at an index: each stored, or set aside with its reason, in whatever time.

What becomes of a batch whose answer was lost is looked up before anything of it is sent again; `shipper` says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from audit import dead_letters, durable
from audit.documents import ID_BYTES_MAX, Document
from audit.elastic.index import Index, IndexFault, IndexUnavailable
from audit.elastic.outcome import AnswerInvalid, Rejected, outcome
from audit.elastic.pace import Pace

BATCH_DOCUMENTS: Final = 5000  # as many ids are looked up at once
BACKOFF_FLOOR: Final = 0.2
BACKOFF_CEILING: Final = 5.0  # seconds: whoever repaired the cluster should not have to wait
SETTLE: Final = 5.0  # seconds an attempt whose answer was lost may still be running on the server
_ACTION: Final = 120  # bytes, about, of the action line before each document


@dataclass(slots=True)
class Counts:
    """What was done since the start."""

    created: int = 0
    already: int = 0
    rejected: int = 0
    put_off: int = 0
    looked_up: int = 0
    requests: int = 0
    faults: int = 0
    last_fault: str = ""


def weight(document: Document) -> int:
    """Return about how many bytes of a request the document takes."""
    return _ACTION + len(document.packed or orjson.dumps(document.body))


def batches(documents: Sequence[Document], pace: Pace) -> Iterator[tuple[Document, ...]]:
    """Cut `documents` into batches of bounded count, and of the size that `pace` allows when each is cut."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        more = weight(document)
        if batch and (size + more > pace.size or len(batch) >= BATCH_DOCUMENTS):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(document)
        size += more
    if batch:
        yield tuple(batch)


class Delivery:
    """Several batches may be under way at once: as many as `pace` has lanes."""

    def __init__(self, index: Index, letters: Path, clock: Callable[[], float]) -> None:
        """`letters` is the file of documents set aside; what a crash left half written there is cut. Raises OSError."""
        dead_letters.mend(letters)
        self._index = index
        self._letters = letters
        self._clock = clock
        self._setting_aside = asyncio.Lock()
        self._busy = 0
        self._free = asyncio.Condition()
        self.counts = Counts()
        self.pace = Pace()

    async def all(self, documents: Sequence[Document], *, doubtful: bool) -> None:
        """Bring all of them to an end; with `doubtful` each is looked up before it is sent. Raises OSError."""
        under_way: list[asyncio.Task[None]] = []
        try:
            for batch in batches(documents, self.pace):
                await self._lane()
                under_way.append(asyncio.create_task(self._one(batch, doubtful)))
            await asyncio.gather(*under_way)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _lane(self) -> None:
        async with self._free:
            await self._free.wait_for(lambda: self._busy < self.pace.lanes)
            self._busy += 1

    async def _one(self, batch: tuple[Document, ...], doubtful: bool) -> None:
        try:
            await self._deliver(batch, doubtful=doubtful)
        finally:
            async with self._free:
                self._busy -= 1
                self._free.notify_all()

    async def _deliver(self, batch: tuple[Document, ...], *, doubtful: bool) -> None:
        left = tuple(d for d in batch if len(d.id.encode()) <= ID_BYTES_MAX)
        if len(left) < len(batch):  # one of them would spoil the whole request
            long = [d for d in batch if len(d.id.encode()) > ID_BYTES_MAX]
            await self._set_aside([Rejected(d, 0, "the id is too long") for d in long])
        tries = 0
        while left:
            pause = 0.0
            try:
                left = await self._attempt(left, doubtful=doubtful)
                doubtful = False
                if not left:
                    return
                self.pace.throttled()
            except IndexUnavailable as fault:
                self._note(str(fault))
                if fault.fault in (IndexFault.TOO_LARGE, IndexFault.BAD_BATCH):
                    await self._divide(left, fault, doubtful=doubtful)
                    return
                if fault.fault is IndexFault.THROTTLED:
                    self.pace.throttled()
                doubtful = doubtful or fault.fault is IndexFault.UNCERTAIN
                pause = max(fault.retry_after or 0.0, SETTLE if fault.fault is IndexFault.UNCERTAIN else 0.0)
            except AnswerInvalid as fault:
                self._note(str(fault))
                doubtful, pause = True, SETTLE
            tries += 1
            await asyncio.sleep(max(pause, _backoff(tries)))

    async def _attempt(self, left: tuple[Document, ...], *, doubtful: bool) -> tuple[Document, ...]:
        """Send once; return what has to be sent again."""
        if doubtful:
            known = await self._index.stored(left)
            self.counts.looked_up += len(left)
            self.counts.already += len(known)
            left = tuple(document for document in left if document.id not in known)
            if not left:
                return ()
        begun = time.monotonic()
        self.counts.requests += 1
        result = outcome(left, await self._index.create(left))
        if not result.again:
            self.pace.answered(sum(map(weight, left)), time.monotonic() - begun)
        self.counts.created += len(result.created)
        self.counts.already += len(result.already)
        self.counts.put_off += len(result.again)
        if result.waiting_for:
            self._note(result.waiting_for)
        await self._set_aside(result.rejected)
        return result.again

    async def _divide(self, left: tuple[Document, ...], fault: IndexUnavailable, *, doubtful: bool) -> None:
        """Find the document that spoils a batch by halves; alone, it is set aside."""
        if fault.fault is IndexFault.TOO_LARGE:
            self.pace.too_large(sum(map(weight, left)))
        if len(left) == 1:
            await self._set_aside([Rejected(left[0], 0, fault.detail)])
            return
        middle = len(left) // 2
        await self._deliver(left[:middle], doubtful=doubtful)
        await self._deliver(left[middle:], doubtful=doubtful)

    async def _set_aside(self, rejected: Sequence[Rejected]) -> None:
        if not rejected:
            return
        lines = [
            orjson.dumps({
                "at": self._clock(), "id": each.document.id, "dataset": each.document.dataset, "status": each.status,
                "reason": each.reason, "body": each.document.body,
            }) + b"\n"
            for each in rejected
        ]  # fmt: skip
        async with self._setting_aside:
            await asyncio.to_thread(durable.append, self._letters, b"".join(lines))
        self.counts.rejected += len(rejected)

    def _note(self, fault: str) -> None:
        self.counts.faults += 1
        self.counts.last_fault = fault


def _backoff(tries: int) -> float:
    return float(min(BACKOFF_CEILING, BACKOFF_FLOOR * 2.0 ** min(tries - 1, 16)))
