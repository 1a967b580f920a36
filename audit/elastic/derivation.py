"""The documents that the journals call for in a period, derived again from their records.

The same `audit.documents.Folder` as the shipper's, but read from near the period's start: a request that was open
there is completed by looking its decision up. Whether a document has to be stored by now says its `place`, the record
that completed it, against the shipper's cursor. Proving the journals is `audit.verify`'s work: here reading starts in
the middle, at a record whose place is taken from the file itself, and follows the chain from there on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from audit import stored
from audit.completion import decisions, leans
from audit.documents import OPEN_AFTER, Document, Folder, OpenRequest
from audit.event import timestamp
from audit.reader import IntegrityError, JournalReader
from audit.scan import SLACK, Position, request_of, time_of
from audit.seekable import SegmentDamaged
from audit.segment import Chain, LineFault, Link, Segment, claimed, record_of, segments, whole_lines, writers

HOUR: Final = 3600
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` (inclusive) to `until` (exclusive), in seconds since the epoch, by the documents' `@timestamp`."""

    since: float
    until: float

    def holds(self, moment: float) -> bool:
        """Whether a time lies in it."""
        return self.since <= moment < self.until


@dataclass(frozen=True, slots=True)
class Derived:
    """One document, and the record that completed it.

    `needed` is false for what a copy may hold but need not: a completion whose decision was deleted, and `.open`.
    """

    document: Document
    writer: str
    place: Position
    needed: bool = True


class Derivation:
    """Derives a period's documents, writer by writer; `unreadable` names the writers whose chain breaks."""

    def __init__(self, journals: Path, period: Period) -> None:
        self._journals = journals
        self._period = period
        self.unreadable: dict[str, str] = {}
        self.records = 0

    def documents(self) -> Iterator[Derived]:
        """Yield each document once, in the order of each journal; a decision that is awaited first as its `.open`."""
        for name in writers(self._journals):
            try:
                yield from self._of_writer(name)
            except IntegrityError as error:
                self.unreadable[name] = str(error)

    def _of_writer(self, name: str) -> Iterator[Derived]:
        reader = JournalReader(self._journals, name, start_before(self._journals, name, self._period.since - SLACK))
        folder = Folder()
        known: set[str] = set()  # the folder's open requests
        while records := reader.read(_CHUNK):
            self.records += len(records)
            asked = {
                request_of(each.line) for each in records
                if leans(each.line) and request_of(each.line).decode() not in known
            }  # fmt: skip
            earlier = self._earlier(name, asked, records[0].epoch, records[0].seq)
            for each in records:
                record = record_of(each.line)
                yield from self._take(folder, known, earlier, record)
            if self._is_over(folder, records[-1].line):
                return

    def _earlier(self, name: str, requests: set[bytes], epoch: int, seq: int) -> dict[str, dict[str, Any]]:
        """Return the decisions of these completions that stand before where reading began."""
        if not requests:
            return {}
        found = decisions(self._journals, name, requests)
        return {
            request.decode(): record_of(raw.line) for request, raw in found.items() if raw.position < (epoch, seq)
        }  # fmt: skip

    def _take(
        self, folder: Folder, known: set[str], earlier: dict[str, dict[str, Any]], record: dict[str, Any]
    ) -> Iterator[Derived]:
        writer, place, request = str(record["writer"]), (int(record["epoch"]), int(record["seq"])), request_id(record)
        alone = False
        if record.get("event.action") == "request.completed" and request:
            if request not in known and request in earlier:
                folder.take(earlier[request], 0.0)
            alone = request not in known and request not in earlier
            known.discard(request)
        made = folder.take(record, 0.0)
        if not made and request:
            known.add(request)
            if self._period.holds(moment_of(record)):
                yield Derived(open_document(record), writer, place, needed=False)
        for document in made:
            if self._period.holds(moment_of(document.body)):
                yield Derived(document, writer, place, needed=not alone)

    def _is_over(self, folder: Folder, line: bytes) -> bool:
        """Whether what follows can no longer be of the period: late enough, and no request of it is open."""
        if time_of(line) < timestamp(self._period.until + SLACK).encode():
            return False
        return not any(self._period.holds(moment_of(waiting.record)) for waiting in folder.open_requests())


def open_document(decision: dict[str, Any]) -> Document:
    """Return the `.open` document of a decision."""
    (document,) = Folder({request_id(decision): OpenRequest(decision, 0.0)}).overdue(OPEN_AFTER)
    return document


def moment_of(body: Mapping[str, Any]) -> float:
    """Return `@timestamp` in seconds since the epoch; raises ValueError, KeyError where it is none."""
    return datetime.fromisoformat(str(body["@timestamp"])).timestamp()


def start_before(journals: Path, writer: str, moment: float) -> Link | None:
    """Return a record's place from which on a writer's journal holds everything since `moment`; None = its start."""
    found = segments(journals / writer)
    wanted = timestamp(moment).encode()
    number = bisect_left(found, wanted, key=lambda segment: time_of(first_line(segment)))
    if number == 0:
        return None
    line = first_line(found[number - 1])
    try:
        chain = Chain(writer, claimed(writer, line))
        entry = chain.accept(line)
    except LineFault:
        return None  # read from the start, the reader names what is wrong
    return Link(chain.epoch, chain.seq, entry)


def first_line(segment: Segment) -> bytes:
    """Return a segment's first line, empty where it has none any more or it cannot be read: the reader tells why."""
    try:
        return b"" if segment.expired else stored.ends(segment)[0]
    except FileNotFoundError:
        return next(whole_lines(stored.whole(segment)), b"")  # it has its next form by now
    except SegmentDamaged:
        return b""


def request_id(record: Mapping[str, Any]) -> str:
    """Return the request that a record is about, "" = none."""
    request = record.get("http.request.id")
    return request if isinstance(request, str) else ""
