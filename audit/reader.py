"""Reads a writer's journal from its files, checking every line: the one reader of auditor, verifier and search.

It reads while the journal is written: a line without its newline is not there yet, a segment may be renamed between two
reads, compressed, or expired. Whatever does not continue the chain raises `IntegrityError` with the place of the first
bad record.

Of an expired segment only the entries are left (`audit.entries`). Whoever reads records passes over it, the chain goes
on with its last entry. Whoever proves or covers them (`expired=True`) gets each of its records with its entry and no
line, `Record.line == b""`, but for the lines that stay, and finds the segments passed in `JournalReader.expired`:
whether their deletion was on record is for them to ask (`audit.expired`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from audit import stored
from audit.entries import SIZE, EntriesInvalid, Expired, load
from audit.segment import ACTIVE, PLAIN, Chain, Chained, LineFault, Link, Segment, chained, claimed, segments
from audit.stored import Piece, Recent, SegmentDamaged

MANY: Final = 250  # records: who got so many in one look need not wait before the next, more may be there
CHUNK: Final = 1 << 20  # bytes read at once; a line is shorter (`segment.LINE_LIMIT`)
FULL: Final = CHUNK // 2  # bytes: a piece so large was perhaps not all that is there
Taken = tuple[bytes, bytes, Mapping[int, bytes] | None]
"""Lines, the records' entries, and the lines that stay of an expired segment: what `audit.stored.Piece` begins with."""
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
    """One line that continues its chain, and where it stands; of an expired record the line is empty."""

    line: bytes
    entry: bytes
    epoch: int
    seq: int
    segment: str
    number: int  # of the line in its segment, from 1


class JournalReader:
    """Follows one writer's journal from its start, or from after a record whose place is known."""

    def __init__(
        self, root: Path, writer: str, after: Link | None = None, *, expired: bool = False,
        recent: Recent | None = None, chained: Chained = chained,
    ) -> None:  # fmt: skip
        """Prepare; files are opened by `read`. A bounded writer's deleted records are passed over, see `gone`.

        With `expired`, `read` also returns the records of expired segments, without their lines. What `recent` has is
        neither read from the file nor proved again, and who has taken all of it waits for what it gets next: else all
        who follow would read and prove for themselves what came a moment ago. `chained` is how many lines are checked
        at once.
        """
        self.writer = writer
        self.folder = root / writer
        self.expired: dict[str, Expired] = {}  # by segment, those that were read to their end; with `expired` only
        self._with_expired = expired
        self._recent = recent
        self._chained = chained
        self._passed = ""  # the expired segment that was read to its end last
        self.gone: Link | None = None  # the last deleted record before the first that is still there
        self._chain = Chain(writer, after)
        self._resume = after
        self._segment: Segment | None = None
        self._plain = self.folder  # where it is once it is sealed
        self._offset = 0
        self._number = 0

    @property
    def link(self) -> Link:
        """The last record read (epoch 0: none)."""
        return self._chain.link

    def read(self, limit: int = CHUNK) -> list[Record]:
        """Return the next records, about `limit` bytes of them; an empty list means that nothing more is there yet."""
        piece = self.piece(limit)
        if piece is None:
            return []
        epoch, seq, number, entries = piece.epoch, piece.seq, piece.number, piece.entries
        return [
            Record(line, entries[at * SIZE : (at + 1) * SIZE], epoch, seq + at, piece.segment, number + at)
            for at, line in enumerate(piece.lines)
        ]

    def piece(self, limit: int = CHUNK) -> Piece | None:
        """Return the next records as `read` does, in one piece; None means that nothing more is there yet."""
        if self._recent is not None and self._recent.is_latest(self.writer, self._chain.link):
            return None
        while True:
            if self._segment is None and not self._enter(segments(self.folder) if self.folder.is_dir() else []):
                return None
            before = self._chain.link, self._number, self._offset
            taken = self._take(limit)
            if taken is None:  # renamed, or deleted on record
                continue
            data, entries, stays = taken
            segment = self._segment
            assert segment is not None  # noqa: S101 (what was taken was taken from one)
            if entries:
                link, number, offset = before
                return Piece(data, entries, link, segment.key, segment.path.name, number + 1, offset, stays)
            if not self._advance():
                return None

    def _take(self, limit: int) -> Taken | None:
        """Return what the segment still has, None when it is not there under this name any more."""
        segment = self._segment
        assert segment is not None  # noqa: S101 (`piece` has entered one)
        if segment.expired:
            return self._pass(segment)
        if self._recent is not None:
            known = self._recent.behind(self.writer, segment.key, self._chain.link, self._offset, limit)
            if known is not None:
                self._chain.pass_over(known[1])
                return self._took(*known)
        data = self._load(segment, limit)
        return None if data is None else self._accept(segment, data)

    def _took(self, data: bytes, entries: bytes) -> Taken:
        self._number += len(entries) // SIZE
        self._offset += len(data)
        return data, entries, None

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
            try:
                self.gone = self._before(stored.now(first) or first)
            except FileNotFoundError:  # deleted on record, or it has another form by now
                return self._enter(segments(self.folder))
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
        segment: Segment | None = before[-1]
        while segment is not None:
            try:
                self._resume_in(segment, after)
            except FileNotFoundError:
                segment = stored.now(segment)  # it has another form by now
            else:
                return
        self._resume_at(segments(self.folder), after)  # deleted on record meanwhile

    def _resume_in(self, segment: Segment, after: Link) -> None:
        position, offset = after.seq - segment.first_seq + 1, 0
        if segment.expired:
            held = self._held(segment)
            if held.entry(after.seq) != after.entry:
                raise self._unlike(segment, position, "entry", held.entry(after.seq).hex() or "none", after.entry.hex())
            self._resume = None
            self._go(segment, 0, position)
            return
        for number, line in enumerate(self._lines(segment), 1):
            offset += len(line)
            if number == position:
                self._confirm(segment, number, line, after)
                self._resume = None
                self._go(segment, offset, number)
                return
        raise self._unlike(segment, position, "record", "none", after.entry.hex())

    def _confirm(self, segment: Segment, number: int, line: bytes, after: Link) -> None:
        try:
            chain = Chain(self.writer, claimed(self.writer, line))
            entry = chain.accept(line)
        except LineFault as fault:
            raise self._fault(segment, number, fault) from fault
        if entry != after.entry:
            raise self._unlike(segment, number, "entry", entry.hex(), after.entry.hex())

    def _go(self, segment: Segment, offset: int = 0, number: int = 0) -> None:
        self._segment, self._offset, self._number = segment, offset, number
        self._plain = segment.under(PLAIN).path

    def _load(self, segment: Segment, limit: int) -> bytes | None:
        try:
            return stored.piece(segment, self._offset, limit)
        except SegmentDamaged as error:
            raise self._unlike(segment, self._number + 1, "bytes", str(error.strerror), "as written") from error
        except FileNotFoundError:
            other = stored.now(segment)
            if other is None:
                if self.writer.endswith(_BOUNDED):
                    self._segment = None
                    return None
                raise self._unlike(segment, self._number + 1, "segment", "none", "a file") from None
            self._segment = other
            return None

    def _accept(self, segment: Segment, data: bytes) -> Taken:
        data = data[: data.rfind(b"\n") + 1] or data
        entries, fault = self._chain.accept_all(data, self._chained)
        if fault is not None:
            raise self._fault(segment, self._number + len(entries) // SIZE + 1, fault)
        if entries:
            return self._took(data, entries)
        if data and segment.sealed:
            raise self._unlike(segment, self._number + 1, "format", repr(data[-40:]), "a line that ends")
        return b"", b"", None

    def _pass(self, segment: Segment) -> Taken:
        """Follow an expired segment to its end; lines that stay have to be what the entries say."""
        chain, name = self._chain, segment.path.name
        if name == self._passed:
            return b"", b"", None
        held = self._held(segment)
        if self._number == 0 and held.prev != chain.entry:
            raise self._unlike(segment, 1, "prev", held.prev.hex(), chain.entry.hex())
        self._passed = name
        if self._with_expired:
            self.expired[name] = held
        entries: list[bytes] = []
        while self._with_expired and self._number < held.count:
            seq = segment.first_seq + self._number
            line, entry = held.kept.get(seq, b""), held.entry(seq)
            if line:
                self._stays(segment, line, entry)
            else:
                chain.pass_over(entry)
            self._number += 1
            entries.append(entry)
        chain.pass_over(held.entries[(chain.seq + 1 - held.seq) * SIZE :])
        return b"", b"".join(entries), held.kept

    def _stays(self, segment: Segment, line: bytes, entry: bytes) -> None:
        try:
            got = self._chain.accept(line)
        except LineFault as fault:
            raise self._fault(segment, self._number + 1, fault) from fault
        if got != entry:
            raise self._unlike(segment, self._number + 1, "entry", got.hex(), entry.hex())

    def _held(self, segment: Segment) -> Expired:
        """Return what an expired segment still holds, which has to be what its name says."""
        try:
            held = load(segment.path)
        except EntriesInvalid as error:
            raise self._unlike(segment, 1, "format", str(error), "a list of entries") from error
        if (held.writer, held.epoch, held.seq) != (self.writer, *segment.key):
            got = f"{held.writer} {held.epoch}:{held.seq}"
            raise self._unlike(segment, 1, "segment", got, f"{self.writer} {segment.epoch}:{segment.first_seq}")
        return held

    def _before(self, segment: Segment) -> Link:
        """Return the place before a segment's first record, as the segment itself claims it."""
        if segment.expired:
            return Link(segment.epoch, segment.first_seq - 1, self._held(segment).prev)
        try:
            return claimed(self.writer, next(self._lines(segment), b""))
        except LineFault as fault:
            raise self._fault(segment, 1, fault) from fault

    def _lines(self, segment: Segment) -> Iterator[bytes]:
        try:
            yield from stored.lines(segment)
        except SegmentDamaged as error:
            raise self._unlike(segment, 1, "bytes", str(error.strerror), "as written") from error

    def _advance(self) -> bool:
        """Go to the next segment if this one is read to its end and will not grow.

        While a segment is being written there is no later one: so its folder, which may hold thousands, is not listed.
        """
        segment = self._segment
        assert segment is not None  # noqa: S101 (`piece` has entered one)
        if not segment.sealed:
            if not self._plain.exists():
                return False
            sealed = stored.now(segment)  # perhaps it grew before that: its rest is read under its new name
            if sealed is None or sealed.form == ACTIVE:
                return False
            self._segment = sealed
            return True
        found = segments(self.folder)
        later = [item for item in found if item.key > segment.key]
        if not later:
            return False
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

    def _unlike(self, segment: Segment, number: int, what: str, got: str, expected: str) -> IntegrityError:
        seq = segment.first_seq + number - 1
        return IntegrityError(self.writer, segment.path.name, number, seq, what, got, expected)

    def _fault(self, segment: Segment, number: int, fault: LineFault) -> IntegrityError:
        seq = segment.first_seq + number - 1
        return IntegrityError(self.writer, segment.path.name, number, seq, fault.what, fault.got, fault.expected)
