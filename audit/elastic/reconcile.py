"""Compares the copy in Elasticsearch with the documents that the journals call for, both ways.

1. `survey`: both sides are read once, in any order and constant memory, into a count and a keyed sum for each hour and
   dataset (`fingerprint`). Hours whose sums are equal agree, and that is all there is to do for them.
2. `inspect`: the others are read again, `PART` documents at a time, and compared one by one. What the copy seems to
   lack is looked up by id in every backing index (realtime) before it is named; what it has too much is held against
   the record that it claims to come from.

The shipper's cursor is read first, then the copy, then the journals: whatever the cursor has passed was stored before,
and whatever is stored stands in a journal by then. So a document younger than the cursor is on its way, not missing;
one that nothing accounts for is foreign. Nothing is ever deleted or overwritten: no key of ours can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from audit.documents import Document
from audit.elastic.copy import Stored
from audit.elastic.derivation import HOUR, Derivation, Derived, Period, moment_of
from audit.elastic.differences import Bucket, Kind, Report, hour_of
from audit.elastic.fingerprint import Fingerprint
from audit.elastic.origin import Origins
from audit.elastic.survey import Key, Shipped, Survey
from audit.elastic.template import DATASETS
from audit.scan import Position

BATCH: Final = 500  # documents looked up, or sent again, at once
CHECKPOINT: Final = "checkpoint:"
_OPEN: Final = ".open"


class Copies(Protocol):
    """The copy, as `audit.elastic.copy.Copy` reads it."""

    def documents(self, dataset: str, period: Period) -> AsyncIterator[Stored]:
        """Yield the stored documents of a period, in any order; raise `IndexUnavailable`."""

    async def look_up(self, dataset: str, ids: Sequence[str]) -> list[Stored]:
        """Return these documents wherever they are stored, unrefreshed ones too; raise `IndexUnavailable`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to compare and what to do about it.

    `send` stores documents and returns how many it brought there; None = only compare. `judge` says in which way a
    stored checkpoint is wrong, None = it is not. `heard` is told now and then how many documents were read.
    """

    journals: Path
    period: Period
    shipped: Shipped
    judge: Callable[[Stored], tuple[Kind, str] | None]
    send: Callable[[Sequence[Document]], Awaitable[int]] | None = None
    heard: Callable[[int], None] = lambda _count: None


class Held(NamedTuple):
    """One stored document, by its print; `start` is the record it claims to begin with, as its body says."""

    id: str
    number: int
    bucket: Bucket
    start: tuple[str, Position] | None
    completed: int | None


class Reconciliation:
    """One comparison."""

    def __init__(self, asked: Asked, copies: Copies) -> None:
        self._asked = asked
        self._shipped = asked.shipped
        self._copies = copies
        self._print = Fingerprint()
        self._read = 0
        self._changed: set[Key] = set()
        self.report = Report()

    async def run(self) -> Report:
        """Compare; raise `IndexUnavailable`, OSError."""
        survey = Survey()
        async with aclosing(self._stored(self._asked.period)) as copies:
            async for dataset, stored in copies:
                self._take_stored(survey, dataset, stored)
        for derived in self._derived(self._asked.period):
            self._take_derived(survey, derived)
        survey.finish()
        for bucket in survey.agreeing():
            self.report.rows[bucket].journal = survey.ours[bucket].count
            self.report.rows[bucket].stored = survey.theirs[bucket].count
        self.report.inspected = len(survey.doubtful)
        for buckets, part, parts in survey.portions():
            await self._inspect(buckets, part, parts)
        return self.report

    async def _stored(self, period: Period) -> AsyncGenerator[tuple[str, Stored]]:
        for dataset in DATASETS:
            async for stored in self._copies.documents(dataset, period):
                self._heard()
                yield dataset, stored

    def _derived(self, period: Period) -> Iterator[Derived]:
        derivation = Derivation(self._asked.journals, period)
        for derived in derivation.documents():
            self._heard()
            yield derived
        self.report.records += derivation.records
        for fault in derivation.unreadable.values():
            if fault not in self.report.names[Kind.UNREADABLE]:
                self.report.name(Kind.UNREADABLE, None, fault)

    def _heard(self) -> None:
        self._read += 1
        if self._read % BATCH == 0:
            self._asked.heard(self._read)

    def _hold(self, dataset: str, stored: Stored) -> Held:
        bucket = hour_of(_moment(stored.body, self._asked.period.since)), dataset
        number = self._print.of(dataset, stored.id, stored.body)
        return Held(stored.id, number, bucket, *_claimed(stored.body))

    def _number(self, document: Document) -> int:
        return self._print.of(document.dataset, document.id, document.body)

    def _take_stored(self, survey: Survey, dataset: str, stored: Stored) -> None:
        held = self._hold(dataset, stored)
        if stored.id.startswith(CHECKPOINT):
            self.report.rows[held.bucket].checkpoints += 1
            fault = self._asked.judge(stored)
            if fault is not None:
                self.report.name(fault[0], held.bucket, f"{stored.id}: {fault[1]}")
            return
        start = held.start
        end = (start[1][0], held.completed or start[1][1]) if start is not None else (0, 0)
        if start is not None and self._shipped.passed(start[0], end) and not stored.id.endswith(_OPEN):
            survey.theirs[held.bucket].add(held.number)
        else:
            survey.put_apart(held.bucket, (dataset, stored.id), held.number)

    def _take_derived(self, survey: Survey, derived: Derived) -> None:
        document, called_for = derived.document, self._shipped.calls_for(derived)
        bucket, key = _bucket(document), (document.dataset, document.id)
        row = self.report.rows[bucket]
        row.aside += document.id in self._shipped.aside
        if called_for and derived.needed:
            survey.ours[bucket].add(self._number(document))
        elif not survey.stands_apart(key):
            if called_for:
                survey.doubtful.add(bucket)
        else:
            survey.settle(key, self._number(document))
            if document.id.endswith(_OPEN):
                row.opened += 1
            else:
                row.on_the_way += 1

    async def _inspect(self, buckets: frozenset[Bucket], part: int, parts: int) -> None:
        """Compare these hours, or one of several parts of a single one, document by document."""
        held = await self._held(buckets, part, parts)
        lacking: list[Derived] = []
        for derived in self._derived(_span(self._asked.period, buckets)):
            document = derived.document
            bucket = _bucket(document)
            if bucket not in buckets or _part(document.id, parts) != part:
                continue
            called_for = self._shipped.calls_for(derived)
            if called_for and derived.needed:
                self.report.rows[bucket].journal += 1
            copies = held.pop((document.dataset, document.id), [])
            if copies:
                self._judge(derived, [copy.number for copy in copies])
            elif called_for:
                lacking.append(derived)
            if len(lacking) >= BATCH:
                await self._look_up(lacking)
                lacking = []
        await self._look_up(lacking)
        origins = Origins(self._asked.journals)
        rest = [copy for copies in held.values() for copy in copies]
        for copy in sorted(rest, key=lambda copy: copy.start or ("", (0, 0))):  # segment by segment
            self._account_for(copy, origins)

    async def _held(self, buckets: frozenset[Bucket], part: int, parts: int) -> dict[Key, list[Held]]:
        """Read the stored documents of these hours; counts of the first look that are made again begin anew."""
        for bucket in buckets if part == 0 else ():
            self.report.rows[bucket].opened = self.report.rows[bucket].on_the_way = 0
        found: dict[Key, list[Held]] = defaultdict(list)
        async with aclosing(self._stored(_span(self._asked.period, buckets))) as copies:
            async for dataset, stored in copies:
                if stored.id.startswith(CHECKPOINT) or _part(stored.id, parts) != part:
                    continue
                held = self._hold(dataset, stored)
                if held.bucket in buckets:
                    found[dataset, stored.id].append(held)
        return found

    def _judge(self, derived: Derived, numbers: Sequence[int]) -> None:
        """Hold a document's copies against what it should be."""
        document, bucket = derived.document, _bucket(derived.document)
        row = self.report.rows[bucket]
        if document.id.endswith(_OPEN):
            row.opened += len(numbers)
        elif not derived.needed:
            row.expired += len(numbers)
        elif self._shipped.calls_for(derived):
            row.stored += len(numbers)
        else:
            row.on_the_way += len(numbers)
        if set(numbers) != {self._number(document)}:
            self._name_changed(bucket, document.id)
        if len(numbers) > 1:
            self.report.name(Kind.TWICE, bucket, document.id)

    def _name_changed(self, bucket: Bucket, name: str) -> None:
        """Name a changed document once, also where it is met under another hour than its own."""
        if (bucket[1], name) not in self._changed:
            self._changed.add((bucket[1], name))
            self.report.name(Kind.CHANGED, bucket, name)

    async def _look_up(self, lacking: Sequence[Derived]) -> None:
        """Name what no backing index has, and send it again where that is asked for."""
        by_dataset: dict[str, list[Derived]] = defaultdict(list)
        for derived in lacking:
            by_dataset[derived.document.dataset].append(derived)
        for dataset, some in by_dataset.items():
            copies: dict[str, list[int]] = defaultdict(list)
            for stored in await self._copies.look_up(dataset, [each.document.id for each in some]):
                copies[stored.id].append(self._print.of(dataset, stored.id, stored.body))
            missing: dict[Bucket, list[Document]] = defaultdict(list)
            for derived in some:
                if numbers := copies.get(derived.document.id):
                    self._judge(derived, numbers)
                else:
                    missing[_bucket(derived.document)].append(derived.document)
                    self._miss(derived)
            for bucket, documents in missing.items():
                if self._asked.send is not None:
                    self.report.rows[bucket].sent += await self._asked.send(documents)

    def _miss(self, derived: Derived) -> None:
        document, (epoch, seq) = derived.document, derived.place
        self.report.name(Kind.MISSING, _bucket(document), document.id)
        self.report.lacks(derived.writer, epoch, {int(document.body["sekisho.journal.seq"]), seq})

    def _account_for(self, copy: Held, origins: Origins) -> None:
        """Say what a document is that was not expected at its time."""
        row = self.report.rows[copy.bucket]
        if copy.start is None or not origins.knows(copy.start[0]):
            row.stored += 1
            self.report.name(Kind.FOREIGN, copy.bucket, copy.id)
            return
        writer, place = copy.start
        known = origins.documents(writer, place, copy.completed)
        if not known and origins.is_gone(writer, place):
            row.expired += 1
            return
        if not known and any(fault.startswith(f"{writer}/") for fault in self.report.names[Kind.UNREADABLE]):
            row.unproven += 1
            return
        row.stored += 1
        if copy.id not in known or copy.bucket[1] not in {each.dataset for each in known.values() if each}:
            self.report.name(Kind.FOREIGN, copy.bucket, copy.id)
            return
        expected = known[copy.id]
        if expected is None or self._number(expected) != copy.number:
            self._name_changed(copy.bucket, copy.id)


def _bucket(document: Document) -> Bucket:
    return hour_of(moment_of(document.body)), document.dataset


def _span(period: Period, buckets: frozenset[Bucket]) -> Period:
    hours = [hour for hour, _ in buckets]
    return Period(max(period.since, min(hours)), min(period.until, max(hours) + HOUR))


def _part(name: str, parts: int) -> int:
    """Return the part that an id belongs to, the same on both sides."""
    return 0 if parts == 1 else int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) % parts


def _moment(body: Mapping[str, Any], otherwise: float) -> float:
    """Return when a stored document says it happened; whoever forged it may have spelt that in any way."""
    try:
        return moment_of(body)
    except (KeyError, ValueError):
        return otherwise


def _claimed(body: Mapping[str, Any]) -> tuple[tuple[str, Position] | None, int | None]:
    """Return the record that a stored document says it begins with, and the number of the one that completed it."""
    writer, epoch, seq = (body.get(f"sekisho.journal.{name}") for name in ("writer", "epoch", "seq"))
    completed = body.get("sekisho.journal.completed_seq")
    if not isinstance(writer, str) or not isinstance(epoch, int) or not isinstance(seq, int):
        return None, None
    return (writer, (epoch, seq)), completed if isinstance(completed, int) else None
