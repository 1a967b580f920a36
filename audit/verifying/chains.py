"""One segment's records, checked from the entry that its first line claims to follow. A piece: see `verifying`."""

from __future__ import annotations

from typing import Final, NamedTuple

from audit import entries as left
from audit import stored
from audit.entries import SIZE, EntriesInvalid
from audit.expired import AUDITOR, Passed
from audit.segment import LINE_LIMIT, Chain, LineFault, Link, Segment, claimed
from audit.stored import SegmentDamaged
from audit.verifying.hashing import PLAIN, Hashing

LENGTH: Final = SIZE.to_bytes(2)
STRIDE: Final = len(LENGTH) + SIZE
"""Bytes of one packed entry: its length and itself, as in the log's entry bundles."""

BOUNDED: Final = ".anonymous"
"""How the names of writers end whose oldest segments may be deleted, on record (`audit.anonymous`)."""

_CHUNK: Final = 256 << 10  # bytes read at once: they and what is made of them stay in the processor's cache


class Fault(NamedTuple):
    """The first bad line of a segment, counted from 1."""

    line: int
    what: str
    got: str
    expected: str


class Run(NamedTuple):
    """What a segment holds, proved but for where it begins."""

    segment: Segment  # under the name it was read by
    prev: bytes = b""  # the entry before its first record, as that claims it; empty where it has no record
    entries: bytes = b""  # `STRIDE` bytes each
    fault: Fault | None = None  # in the line behind these entries
    marked: tuple[tuple[int, bytes], ...] = ()  # lines that say what was deleted, by their record's number
    passed: Passed | None = None  # the segment has expired
    there: bool = True  # whether there still was a file

    @property
    def records(self) -> int:
        """How many records are good."""
        return len(self.entries) // STRIDE


class Work(NamedTuple):
    """A segment to check; `growing` says that it is its writer's last one, which may end within a line."""

    writer: str
    segment: Segment
    growing: bool
    hashing: Hashing = PLAIN


def pack(entries: bytes) -> bytes:
    """Return entries, 32 bytes each, as the log's bundles hold them."""
    packed = bytearray(len(entries) // SIZE * STRIDE)
    for at, byte in enumerate(LENGTH):
        packed[at::STRIDE] = bytes((byte,)) * (len(entries) // SIZE)
    for at in range(SIZE):
        packed[len(LENGTH) + at :: STRIDE] = entries[at::SIZE]
    return bytes(packed)


def unpack(packed: bytes) -> bytes:
    """Return the entries, 32 bytes each, of what `pack` returned."""
    entries = bytearray(len(packed) // STRIDE * SIZE)
    for at in range(SIZE):
        entries[at::SIZE] = packed[len(LENGTH) + at :: STRIDE]
    return bytes(entries)


def follow(work: Work) -> Run:
    """Check every record of a segment, in whichever form it is by now; raises OSError where it cannot be read."""
    while (segment := stored.now(work.segment)) is not None:
        try:
            return _expired(work.writer, segment) if segment.expired else _lines(work, segment)
        except FileNotFoundError:
            continue  # it has its next form by now, or was deleted
    return Run(work.segment, there=False)


def _lines(work: Work, segment: Segment) -> Run:
    chain: Chain | None = None
    prev, offset = b"", 0
    packed: list[bytes] = []
    marked: list[tuple[int, bytes]] = []
    tells = work.writer == AUDITOR or work.writer.endswith(BOUNDED)

    def run(what: str = "", got: str = "", expected: str = "") -> Run:
        good = b"".join(packed)
        fault = Fault(len(good) // STRIDE + 1, what, got, expected) if what else None
        return Run(segment, prev, good, fault, tuple(marked))

    try:
        while data := stored.piece(segment, offset, _CHUNK):
            end = data.rfind(b"\n") + 1
            if not end:
                if work.growing and not segment.sealed and len(data) < LINE_LIMIT:
                    break  # a line that is being written is not there yet
                return run("format", repr(data[-40:]), "a line that ends")
            if chain is None:
                prev = claimed(work.writer, data[: data.find(b"\n") + 1]).entry
                chain = Chain(work.writer, Link(segment.epoch, segment.first_seq - 1, prev))
            seq = chain.seq
            entries, fault = chain.accept_all(data[:end], work.hashing.chained)
            if tells:
                marked += _marked(data, seq, len(entries) // SIZE)
            packed.append(pack(entries))
            offset += end
            if fault is not None:
                return run(fault.what, fault.got, fault.expected)
    except LineFault as fault:
        return run(fault.what, fault.got, fault.expected)
    except SegmentDamaged as damage:
        return run("bytes", str(damage.strerror), "as written")
    return run()


def _marked(data: bytes, seq: int, count: int) -> list[tuple[int, bytes]]:
    if not left.stays(data):
        return []
    lines = enumerate(data.split(b"\n")[:count], seq + 1)
    return [(number, line + b"\n") for number, line in lines if left.stays(line)]


def _expired(writer: str, segment: Segment) -> Run:
    """Take the entries that are left; lines that stay have to be what the entries say."""
    try:
        held = left.load(segment.path)
    except EntriesInvalid as error:
        return Run(segment, fault=Fault(1, "format", str(error), "a list of entries"))
    if (held.writer, held.epoch, held.seq) != (writer, *segment.key):
        got, expected = f"{held.writer} {held.epoch}:{held.seq}", f"{writer} {segment.epoch}:{segment.first_seq}"
        return Run(segment, fault=Fault(1, "segment", got, expected))
    for seq, line in held.kept.items():
        before = held.entry(seq - 1) if seq > held.seq else held.prev
        number = seq - held.seq + 1
        try:
            entry = Chain(writer, Link(held.epoch, seq - 1, before)).accept(line)
        except LineFault as fault:
            return Run(segment, held.prev, fault=Fault(number, fault.what, fault.got, fault.expected))
        if entry != held.entry(seq):
            return Run(segment, held.prev, fault=Fault(number, "entry", entry.hex(), held.entry(seq).hex()))
    packed = pack(held.entries)
    passed = Passed(writer, segment.path.name, held.epoch, held.seq, held.count, held.digest.hex())
    return Run(segment, held.prev, packed, None, tuple(held.kept.items()), passed)


def line_at(segment: Segment, number: int) -> bytes:
    """Return a whole line by its number from 1; empty where its record was deleted. Raises OSError."""
    while (found := stored.now(segment)) is not None and not found.expired:
        try:
            return next((line for at, line in enumerate(stored.lines(found), 1) if at == number), b"")
        except FileNotFoundError:
            continue
    return b""
