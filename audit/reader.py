"""Reads a writer's journal from its files, checking every line: the one reader of auditor, verifier and search.

It reads while the journal is written: a line without its newline is not there yet, a segment may be renamed between two
reads. Whatever does not continue the chain raises `IntegrityError` with the place of the first bad record.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from audit.segment import Chain, LineFault, Link, Segment, claimed, segments, whole_lines

MANY: Final = 1000  # records: who got so many in one look need not wait before the next, more are there
_CHUNK: Final = 1 << 20  # bytes read at once; a line is shorter (`segment.LINE_LIMIT`)
_BOUNDED: Final = ".anonymous"  # writers whose oldest segments may be deleted, on record (`audit.anonymous`)


class IntegrityError(Exception):
    """The trail is not what was written: `what` differs at this record; `got` stands there, `expected` should."""

    def __init__(self, writer: str, segment: str, line: int, seq: int, what: str, got: str, expected: str) -> None:
        super().__init__(f"{writer}/{segment}:{line}: record {seq}: {what}: got {got}, expected {expected}")
        self.writer = writer
        self.segment = segment
        self.line = line
        self.seq = seq
        self.what = what
        self.got = got
        self.expected = expected


class Record(NamedTuple):
    """One line that continues its chain, and where it stands."""

    line: bytes
    entry: bytes
    epoch: int
    seq: int
    segment: str
    number: int  # of the line in its segment, from 1


class JournalReader:
    """Follows one writer's journal from its start, or from after a record whose place is known."""

    def __init__(self, root: Path, writer: str, after: Link | None = None) -> None:
        """Prepare; files are opened by `read`. A bounded writer's deleted records are passed over, see `gone`."""
        self.writer = writer
        self.folder = root / writer
        self.gone: Link | None = None  # the last deleted record before the first that is still there
        self._chain = Chain(writer, after)
        self._resume = after
        self._segment: Segment | None = None
        self._offset = 0
        self._number = 0

    @property
    def link(self) -> Link:
        """The last record read (epoch 0: none)."""
        return self._chain.link

    def read(self, limit: int = _CHUNK) -> list[Record]:
        """Return the next records, about `limit` bytes of them; an empty list means that nothing more is there yet."""
        found = segments(self.folder) if self.folder.is_dir() else []
        records: list[Record] = []
        while not records:
            if self._segment is None and not self._enter(found):
                return records
            data = self._load(limit)
            if data is None:  # renamed, or deleted on record, since the folder was listed
                found = segments(self.folder)
                continue
            records = self._accept(data)
            if not records and not self._advance(found):
                return records
        return records

    def sync(self) -> None:
        """Make what was read durable, before anything durable is said about it; raises OSError.

        The writer may not have synced yet; a leaf of the tree must never outlive its record.
        """
        if self._segment is None or self._segment.sealed:
            return
        for path in (self._segment.path, self._segment.path.with_suffix(".jsonl")):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            return

    def _enter(self, found: list[Segment]) -> bool:
        if not found:
            return False
        if self._resume is not None:
            self._resume_at(found, self._resume)
            return True
        first = found[0]
        if first.key != (1, 1):
            if not self.writer.endswith(_BOUNDED):
                raise self._misplaced(first, "epoch 1, record 1")
            line = next(whole_lines(first.path.read_bytes()), b"")
            try:
                self.gone = claimed(self.writer, line)
            except LineFault as fault:
                raise self._fault(first, 1, fault) from fault
            self._chain = Chain(self.writer, self.gone)
        elif self._chain.epoch == 0:
            self._chain.turn(1)
        self._go(first)
        return True

    def _resume_at(self, found: list[Segment], after: Link) -> None:
        before = [item for item in found if item.epoch == after.epoch and item.first_seq <= after.seq]
        if not before:
            if not self.writer.endswith(_BOUNDED):
                wanted = f"record {after.seq} of epoch {after.epoch}"
                raise IntegrityError(self.writer, "", 0, after.seq, "segment", "none", wanted)
            self._resume, self._chain = None, Chain(self.writer)
            self._enter(found)
            return
        segment = before[-1]
        self._resume = None
        data = segment.path.read_bytes() if segment.path.exists() else segment.path.with_suffix(".jsonl").read_bytes()
        position = after.seq - segment.first_seq + 1
        offset = 0
        for number, line in enumerate(whole_lines(data), 1):
            offset += len(line)
            if number == position:
                self._confirm(segment, number, line, after)
                self._go(segment, offset, number)
                return
        raise IntegrityError(self.writer, segment.path.name, position, after.seq, "record", "none", after.entry.hex())

    def _confirm(self, segment: Segment, number: int, line: bytes, after: Link) -> None:
        try:
            chain = Chain(self.writer, claimed(self.writer, line))
            entry = chain.accept(line)
        except LineFault as fault:
            raise self._fault(segment, number, fault) from fault
        if entry != after.entry:
            raise IntegrityError(
                self.writer, segment.path.name, number, after.seq, "entry", entry.hex(), after.entry.hex()
            )

    def _go(self, segment: Segment, offset: int = 0, number: int = 0) -> None:
        self._segment, self._offset, self._number = segment, offset, number

    def _load(self, limit: int) -> bytes | None:
        segment = self._segment
        assert segment is not None  # noqa: S101 (`read` has entered one)
        try:
            with segment.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(limit)
                if data and b"\n" not in data:
                    data += file.read(_CHUNK)
                return data
        except FileNotFoundError:
            sealed = segment.path.with_suffix(".jsonl")
            if segment.sealed or not sealed.exists():
                if self.writer.endswith(_BOUNDED):
                    self._segment = None
                    return None
                raise IntegrityError(
                    self.writer, segment.path.name, self._number + 1, self._chain.seq + 1, "segment", "none", "a file"
                ) from None
            self._segment = Segment(sealed, segment.epoch, segment.first_seq, sealed=True)
            return None

    def _accept(self, data: bytes) -> list[Record]:
        segment, chain = self._segment, self._chain
        assert segment is not None  # noqa: S101 (`read` has entered one)
        name, accept, epoch = segment.path.name, chain.accept, chain.epoch
        records: list[Record] = []
        for line in whole_lines(data):
            try:
                entry = accept(line)
            except LineFault as fault:
                raise self._fault(segment, self._number + 1, fault) from fault
            self._number += 1
            self._offset += len(line)
            records.append(Record(line, entry, epoch, chain.seq, name, self._number))
        if not records and data and segment.sealed:
            raise IntegrityError(
                self.writer, name, self._number + 1, chain.seq + 1, "format", repr(data[-40:]), "a line that ends"
            )
        return records

    def _advance(self, found: list[Segment]) -> bool:
        """Go to the next segment if this one is read to its end and will not grow."""
        segment = self._segment
        assert segment is not None  # noqa: S101 (`read` has entered one)
        later = [item for item in found if item.key > segment.key]
        if not later:
            return False
        if not segment.sealed:  # sealed since, and perhaps grown before that: read its rest under its new name
            sealed = segment.path.with_suffix(".jsonl")
            if not sealed.exists():
                return False
            self._segment = Segment(sealed, segment.epoch, segment.first_seq, sealed=True)
            return True
        following = later[0]
        if following.epoch == self._chain.epoch + 1 and following.first_seq == 1:
            self._chain.turn(following.epoch)
        elif following.key != (self._chain.epoch, self._chain.seq + 1):
            if self.writer.endswith(_BOUNDED) and following is found[0]:
                self._segment = None
                return True
            raise self._misplaced(following, f"epoch {self._chain.epoch}, record {self._chain.seq + 1}")
        self._go(following)
        return True

    def _misplaced(self, segment: Segment, expected: str) -> IntegrityError:
        got = f"epoch {segment.epoch}, record {segment.first_seq}"
        return IntegrityError(self.writer, segment.path.name, 1, segment.first_seq, "segment", got, expected)

    def _fault(self, segment: Segment, number: int, fault: LineFault) -> IntegrityError:
        seq = segment.first_seq + number - 1
        return IntegrityError(self.writer, segment.path.name, number, seq, fault.what, fault.got, fault.expected)
