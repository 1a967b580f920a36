"""The bytes of a segment, in whichever form it is stored: the one place that opens one for reading.

A segment changes its form while others read: `.active` → `.jsonl` → `.jsonl.zst` → `.entries`. The next form is there
before the last one goes (`audit.keeping`), so `now` always finds one; an offset into the lines means the same in all
forms that have lines. Of a plain segment this reads exactly what is asked for; of a compressed one whole frames.

`Recent` keeps in memory what one reader has read and proved, for others who come to the same place a moment later.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from audit.entries import SIZE, EntriesInvalid, Expired, load
from audit.seekable import Frame, SegmentDamaged, table, unpacked
from audit.segment import COMPRESSED, FORMS, LINE_LIMIT, Chain, LineFault, Link, Segment, claimed, whole_lines

__all__ = [
    "Piece", "Recent", "SegmentDamaged", "backwards", "count", "ends", "kept", "last_of", "lines", "now", "piece",
    "whole",
]  # fmt: skip

_CHUNK: Final = 1 << 20
_RECENT: Final = 16 << 20  # bytes of lines that stay in memory
_PIECES: Final = 64  # of one writer


@dataclass(frozen=True, slots=True)
class Piece:
    """Records of one segment that follow each other, as they were read: each continues the chain.

    Of an expired segment (`audit.entries`) there are no lines but those in `stays`, by their numbers.
    """

    data: bytes = field(repr=False)  # the lines
    entries: bytes = field(repr=False)  # of each record, SIZE bytes one behind the other
    before: Link  # the record before the first
    key: tuple[int, int]  # of the segment
    segment: str  # its name
    number: int  # of the first line in the segment, from 1
    offset: int  # of the first line in the segment, in bytes
    stays: Mapping[int, bytes] | None = None

    @property
    def epoch(self) -> int:
        """The records' epoch."""
        return self.before.epoch

    @property
    def seq(self) -> int:
        """The first record's number."""
        return self.before.seq + 1

    @property
    def count(self) -> int:
        """How many records these are."""
        return len(self.entries) // SIZE

    @property
    def end(self) -> Link:
        """The last record's place."""
        return Link(self.before.epoch, self.before.seq + self.count, self.entries[-SIZE:])

    @property
    def lines(self) -> Iterator[bytes]:
        """Each record's line, newline included; empty where only its entry is left."""
        if self.stays is None:
            return whole_lines(self.data)
        return (self.stays.get(seq, b"") for seq in range(self.seq, self.seq + self.count))


class Recent:
    """The latest pieces that one reader has proved: who follows the same journals takes them from here.

    What is handed out are the very bytes that were hashed. `keep` belongs to that one reader, all else to any thread.
    """

    def __init__(self, size: int = _RECENT) -> None:
        """Keep at most `size` bytes of lines."""
        self._most = size
        self._size = 0
        self._order: deque[str] = deque()
        self._pieces: dict[str, tuple[Piece, ...]] = {}  # by writer, oldest first; replaced whole

    def keep(self, writer: str, piece: Piece) -> None:
        """Remember a piece of this writer's journal; older ones make room."""
        if piece.stays is not None:
            return
        before = self._pieces.get(writer, ())
        self._size += len(piece.data)
        self._order.append(writer)
        self._pieces[writer] = (*before, piece)
        if len(before) == _PIECES:
            self._order.remove(writer)
            self._drop(writer)
        while self._size > self._most:
            self._drop(self._order.popleft())

    def _drop(self, writer: str) -> None:
        first, *rest = self._pieces[writer]
        self._size -= len(first.data)
        self._pieces[writer] = tuple(rest)

    def behind(
        self, writer: str, key: tuple[int, int], link: Link, offset: int, limit: int
    ) -> tuple[bytes, bytes] | None:
        """Return lines and entries that follow the record at `link`, which ends at `offset` of the segment `key`.

        Whole lines, at most `limit` bytes of them or one line that is longer: the asker's limit bounds what it holds of
        all writers together, and a piece was cut to that of the reader who kept it. None where none are remembered, or
        they follow another record than this.
        """
        for piece in self._pieces.get(writer, ()):
            number = link.seq - piece.before.seq
            if piece.key != key or not 0 <= number < piece.count or offset < piece.offset:
                continue
            at = number * SIZE
            if (piece.entries[at - SIZE : at] if number else piece.before.entry) != link.entry:
                return None
            begin = offset - piece.offset
            if len(piece.data) - begin <= limit:
                return piece.data[begin:], piece.entries[at:]
            end = _within(piece.data, begin, limit)
            return piece.data[begin:end], piece.entries[at : at + piece.data.count(b"\n", begin, end) * SIZE]
        return None

    def leave(self, writer: str) -> None:
        """Forget a writer whom this one reader follows no further: others read on for themselves."""
        self._order = deque(each for each in self._order if each != writer)
        self._size -= sum(len(piece.data) for piece in self._pieces.pop(writer, ()))

    def is_latest(self, writer: str, link: Link) -> bool:
        """Whether the piece kept last ends here: then there is nothing to take until the next one is kept."""
        pieces = self._pieces.get(writer)
        return pieces is not None and len(pieces) > 0 and pieces[-1].end == link

    def unread(self, links: Mapping[str, Link]) -> int:
        """Return how many bytes of remembered lines follow these places, by writer.

        None of a writer whose place is not remembered: who stands there reads the journal's files anyway.
        """
        return sum(_following(links.get(writer), pieces) for writer, pieces in list(self._pieces.items()))


def _following(link: Link | None, pieces: tuple[Piece, ...]) -> int:
    """Return the bytes of a writer's pieces from the one on that follows `link` or begins in it, 0 = none does."""
    epoch, seq = (link.epoch, link.seq) if link is not None and link.epoch else (1, 0)  # before everything
    for at, piece in enumerate(pieces):
        if piece.epoch == epoch and 0 <= seq - piece.before.seq < piece.count:
            return sum(len(each.data) for each in pieces[at:])
    return 0


def _within(data: bytes, begin: int, limit: int) -> int:
    """Return where the whole lines from `begin` on end that are at most `limit` bytes, or the first one."""
    end = data.rfind(b"\n", begin, begin + limit) + 1
    return end or data.find(b"\n", begin) + 1


def now(segment: Segment) -> Segment | None:
    """Return the segment under the name it has by now; None when it was deleted."""
    for form in FORMS:
        other = segment.under(form)
        if other.path.exists():
            return other
    return None


def piece(segment: Segment, offset: int, limit: int) -> bytes:
    """Return `limit` bytes of the lines from `offset` on, or all of a first line that is longer; none at the end.

    Of a compressed segment it is the rest of a frame, whatever the limit.
    Raises FileNotFoundError when the segment has another form by now, OSError, `SegmentDamaged`.
    """
    if segment.form == COMPRESSED:
        return _piece_of_frames(segment.path, offset)
    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, limit, offset)
        if not data or b"\n" in data:
            return data
        data += os.pread(descriptor, _CHUNK, offset + len(data))
        return data[: data.find(b"\n") + 1] or data
    finally:
        os.close(descriptor)


def _piece_of_frames(path: Path, offset: int) -> bytes:
    frame = _frame_at(path, offset)
    return b"" if frame is None else b"".join(unpacked(path, [frame]))[offset - frame.start :]


def _frame_at(path: Path, offset: int) -> Frame | None:
    return next((frame for frame in table(path) if frame.start <= offset < frame.end), None)


def whole(segment: Segment) -> bytes:
    """Return all lines, under whichever name the segment has by now; empty when it was deleted or has expired."""
    found: Segment | None = segment
    while found is not None and not found.expired:
        try:
            if found.form == COMPRESSED:
                return b"".join(unpacked(found.path, table(found.path)))
            return found.path.read_bytes()
        except FileNotFoundError:
            found = now(segment)
    return b""


def lines(segment: Segment) -> Iterator[bytes]:
    """Yield the segment's whole lines in order; of a compressed one, a frame is in memory at a time.

    Raises FileNotFoundError when the segment has another form by now, OSError, `SegmentDamaged`.
    """
    if segment.form != COMPRESSED:
        yield from whole_lines(segment.path.read_bytes())
        return
    rest = b""
    for plain in unpacked(segment.path, table(segment.path)):
        data = rest + plain
        end = data.rfind(b"\n") + 1
        yield from whole_lines(data)
        rest = data[end:]


def backwards(segment: Segment) -> Iterator[tuple[int, bytes]]:
    """Yield the lines in pieces, the newest first, each with the number in the segment of its first line, from 0.

    A plain segment is one piece, a compressed one a piece a frame; a segment that was deleted or has expired is none.
    """
    if segment.form == COMPRESSED:
        try:
            yield from _frames_backwards(segment)
        except FileNotFoundError:
            pass
        else:
            return
    data = whole(segment)
    if data:
        yield 0, data


def _frames_backwards(segment: Segment) -> Iterator[tuple[int, bytes]]:
    frames = table(segment.path)
    for frame in reversed(frames):
        data = b"".join(unpacked(segment.path, [frame]))
        yield _number_of(segment, frames, frame, data), data


def _number_of(segment: Segment, frames: tuple[Frame, ...], frame: Frame, data: bytes) -> int:
    """Return the number in the segment of a frame's first line: as the line says it, else by counting."""
    try:
        return claimed(segment.path.parent.name, data[: data.find(b"\n") + 1]).seq + 1 - segment.first_seq
    except LineFault:
        return sum(plain.count(b"\n") for plain in unpacked(segment.path, frames[: frames.index(frame)]))


def count(segment: Segment) -> int:
    """Return how many records the segment holds or held, 0 when it was deleted; raises like `last_of`."""
    found = now(segment)
    if found is not None and found.expired:
        return _entries(found).count
    return next((number + data.count(b"\n") for number, data in backwards(segment)), 0)


def ends(segment: Segment) -> tuple[bytes, bytes]:
    """Return the first and the last whole line, reading no more than it has to; empty where there is none.

    Raises FileNotFoundError when the segment has another form by now, OSError, `SegmentDamaged`.
    """
    if segment.form == COMPRESSED:
        frames = table(segment.path)
        first, last = (b"".join(unpacked(segment.path, part)) for part in (frames[:1], frames[-1:]))
    else:
        with segment.path.open("rb") as file:
            first = file.read(LINE_LIMIT)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * LINE_LIMIT))
            last = file.read()
    last = last[: last.rfind(b"\n") + 1]
    return first[: first.find(b"\n") + 1], last[last.rfind(b"\n", 0, -1) + 1 :]


def kept(segment: Segment) -> bytes:
    """Return the lines of an expired segment that stay, none of any other; raises OSError, `SegmentDamaged`."""
    held = _entries(segment).kept if segment.expired else {}
    return b"".join(held[seq] for seq in sorted(held))


def last_of(segment: Segment) -> Link | None:
    """Return the last record that continues the chain from the segment's first one, None when there is none.

    Raises OSError, `SegmentDamaged`.
    """
    while (found := now(segment)) is not None:
        try:
            return _entries(found).end if found.expired else _last_line(found)
        except FileNotFoundError:
            continue  # it has its next form by now
    return None


def _last_line(segment: Segment) -> Link | None:
    writer = segment.path.parent.name
    chain: Chain | None = None
    try:
        for line in lines(segment):
            if chain is None:
                chain = Chain(writer, claimed(writer, line))
            chain.accept(line)
    except LineFault:
        pass  # what follows is not part of the journal; who settles the folder sets it aside
    return chain.link if chain is not None and chain.seq >= segment.first_seq else None


def _entries(segment: Segment) -> Expired:
    try:
        return load(segment.path)
    except EntriesInvalid as error:
        raise SegmentDamaged(segment.path, str(error)) from error
