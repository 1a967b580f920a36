"""Joins each writer's segments: where one ends, the next one has to begin.

A `Run` (`chains`) was checked from the entry that its first line claims to follow; here the claim is compared with what
really came before. What is wrong with a writer's journal is told when somebody comes to it (`Follower.fault`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audit.expired import Passed
from audit.reader import IntegrityError
from audit.segment import GENESIS, TRIMMED, Link, Segment, record_of, segments
from audit.verifying.chains import BOUNDED, LENGTH, STRIDE, Fault, Run, Work, follow
from audit.verifying.pieces import Pieces


@dataclass(frozen=True, slots=True)
class Place:
    """How far a writer's journal is covered: so many records of the segment with this key."""

    segment: tuple[int, int]
    records: int


@dataclass(slots=True)
class Told:
    """What was found in a writer's journal."""

    records: int = 0
    epochs: int = 0
    segments: int = 0
    removed: int = 0
    expired: int = 0
    passed: list[Passed] = field(default_factory=list)
    marked: list[tuple[tuple[int, int], bytes]] = field(default_factory=list)  # by (epoch, seq)


class Follower:
    """One writer's entries, one segment after the other; `rest` is what is left of the present one."""

    def __init__(
        self, root: Path, writer: str, pieces: Pieces, window: int, start: Place | None = None, *, whole: bool = False
    ) -> None:
        """Stand before the record that follows `start`, or before the first one that is there.

        With `whole` the chain is followed from the beginning all the same.
        """
        self.writer = writer
        self.folder = root / writer
        self.told = Told()
        self.fault: IntegrityError | None = None  # behind `rest`; nothing follows it
        self.gone: Link | None = None  # the last deleted record before the first that is still there
        self.starting = False  # nothing was taken since the start where records are gone
        self.trimmed: Link | None = None  # the last deleted record, as the latest `audit.trimmed` tells
        self.covered: Link | None = None  # the last record that was taken
        self.end = Link(0, 0, GENESIS)  # of the present segment, or of what came before where it has no record
        self.entries = b""
        self.at = 0  # bytes of `entries` that were taken
        self._run: Run | None = None
        self._cited = ""  # by the line behind `entries`: the entry, in hex, that it says came before it
        self._runs: Iterator[Run] = iter(())
        self._ahead: Run | None = None
        self._pieces, self._window = pieces, window
        self._begin(start, whole)

    @property
    def key(self) -> bytes:
        """The packed entry of the next record, empty at the end and where there is a fault."""
        return self.entries[self.at : self.at + STRIDE]

    @property
    def cited(self) -> str:
        """The entry, in hex, that the record after the next one says came before it; empty where it says the same."""
        if self.at + STRIDE != len(self.entries):
            return ""  # the chain holds
        if self.fault is None and self._ahead is None:
            self._ahead = next(self._runs, None)
        return self._cited if self.fault is not None else self._ahead.prev.hex() if self._ahead is not None else ""

    def next_place(self) -> tuple[str, int, int, int]:
        """Return (file, line, epoch, seq) of the next record, or of the one that would follow the last."""
        run = self._run
        if run is None:
            return "", 0, self.end.epoch, self.end.seq + 1
        number = self.at // STRIDE
        return run.segment.path.name, number + 1, run.segment.epoch, run.segment.first_seq + number

    @property
    def present(self) -> Segment | None:
        """The segment of the next record."""
        return self._run.segment if self._run is not None else None

    def take(self, size: int) -> None:
        """Pass `size` bytes of packed entries, at most what is left of the present segment."""
        self.at += size
        self.starting = False
        run = self._run
        assert run is not None  # noqa: S101 (there was something to take)
        seq = run.segment.first_seq + self.at // STRIDE - 1
        self.covered = Link(run.segment.epoch, seq, self.entries[self.at - STRIDE + len(LENGTH) : self.at])
        if self.at == len(self.entries):
            self._next()

    def skip_segment(self) -> int:
        """Go to the next segment without taking what is left of the present one; returns how many records that was."""
        left = (len(self.entries) - self.at) // STRIDE
        self._next()
        return left

    def finish(self) -> None:
        """Check that whatever is missing at the start was deleted on record; raises `IntegrityError`."""
        if self.fault is not None:
            raise self.fault
        if self.gone is not None and not _reaches(self.trimmed, self.gone):
            name = segments(self.folder)[0].path.name
            raise IntegrityError(
                self.writer, name, 1, self.gone.seq + 1, "start",
                f"records up to {self.gone.epoch}:{self.gone.seq} missing",
                f"an audit.trimmed record for {self.trimmed}",
            )  # fmt: skip

    def _begin(self, start: Place | None, whole: bool) -> None:
        listed = listing(self.folder)
        first = start.segment if start is not None and not whole else (0, 0)
        work = [
            Work(self.writer, item, item is listed[-1], self._pieces.hashing) for item in listed if item.key >= first
        ]
        self._runs = self._pieces.ahead(follow, work, self._window)
        if work and work[0].segment is not listed[0]:
            self.end = Link(0, 0, b"")  # the chain before it is not followed
        self._next()
        if start is None:
            return
        while self.key and self._run is not None and self._run.segment.key < start.segment:
            self.skip_segment()
        if 0 < start.records * STRIDE <= len(self.entries):
            self.take(start.records * STRIDE)

    def _next(self) -> None:
        """Go to the next segment that has a record; at the end, and at a fault, nothing is left."""
        while self.fault is None:
            run, self._ahead = self._ahead or next(self._runs, None), None
            if run is None:
                break
            if not run.there:
                self._vanished(run)
                return
            if self._join(run) and run.entries:
                return
        self.at = len(self.entries)

    def _join(self, run: Run) -> bool:
        """Make `run` the present segment if it continues the chain; else note the fault."""
        segment, end = run.segment, self.end
        if end.epoch == 0 and segment.key != (1, 1) and end.entry == GENESIS:
            if not self.writer.endswith(BOUNDED):
                self.fault = self._misplaced(segment, "epoch 1, record 1")
                return False
            if run.prev:
                self.gone = end = Link(segment.epoch, segment.first_seq - 1, run.prev)
                self.starting = True
        elif end.entry and segment.key not in ((end.epoch, end.seq + 1), (end.epoch + 1, 1)):
            self.fault = self._misplaced(segment, f"epoch {end.epoch}, record {end.seq + 1}")
            return False
        if run.prev and end.entry and run.prev != end.entry and (run.fault is None or run.fault.line > 1):
            self.fault = self._error(segment, Fault(1, "prev", run.prev.hex(), end.entry.hex()))
            return False
        self._count(run)
        self._run, self.entries, self.at, self._cited = run, run.entries, 0, ""
        count = run.records
        if count:
            self.end = Link(segment.epoch, segment.first_seq + count - 1, run.entries[-STRIDE + len(LENGTH) :])
        elif end.entry and segment.key == (end.epoch + 1, 1):
            self.end = Link(segment.epoch, 0, end.entry)
        if run.fault is not None:
            self.fault = self._error(segment, run.fault)
            self._cited = run.fault.got if run.fault.what == "prev" else ""
        return True

    def _count(self, run: Run) -> None:
        told, segment, count = self.told, run.segment, run.records
        told.records += count
        told.segments += count > 0
        told.epochs += count > 0 and segment.first_seq == 1
        if run.passed is not None:
            told.expired += count - len(run.marked)  # those that stay have not
            told.passed.append(run.passed)
        for seq, line in run.marked:
            told.marked.append(((segment.epoch, seq), line))
            if TRIMMED in line:
                self._trim(record_of(line))

    def _trim(self, body: dict[str, object]) -> None:
        if body.get("event.action") != "audit.trimmed":
            return  # it quotes the name
        self.told.removed = int(str(body["sekisho.trimmed.records_total"]))
        epoch, seq = int(str(body["sekisho.trimmed.epoch"])), int(str(body["sekisho.trimmed.seq"]))
        self.trimmed = Link(epoch, seq, bytes.fromhex(str(body["sekisho.trimmed.entry"])))

    def _vanished(self, run: Run) -> None:
        """A segment was deleted since the folder was listed: a bounded writer's journal then begins later."""
        listed = listing(self.folder)
        if not self.writer.endswith(BOUNDED) or not listed or listed[0].key <= run.segment.key:
            self.fault = self._error(run.segment, Fault(1, "segment", "none", "a file"))
            self.at = len(self.entries)
            return
        self.end = Link(0, 0, GENESIS)
        self._begin(None, whole=True)

    def _misplaced(self, segment: Segment, expected: str) -> IntegrityError:
        return self._error(segment, Fault(1, "segment", f"epoch {segment.epoch}, record {segment.first_seq}", expected))

    def _error(self, segment: Segment, fault: Fault) -> IntegrityError:
        seq = segment.first_seq + fault.line - 1
        return IntegrityError(self.writer, segment.path.name, fault.line, seq, fault.what, fault.got, fault.expected)


def listing(folder: Path) -> list[Segment]:
    """Return a writer's segments as two looks in a row find them: one look may miss a file that is being renamed."""
    found: list[Segment] | None = None
    while True:
        again = segments(folder)
        if found is not None and [item.key for item in found] == [item.key for item in again]:
            return again
        found = again


def _reaches(trimmed: Link | None, gone: Link) -> bool:
    """Whether the record of a deletion covers all that is gone: it comes before the files go, so less may be gone."""
    if trimmed is None:
        return False
    return (gone.epoch, gone.seq) < (trimmed.epoch, trimmed.seq) or gone == trimmed
