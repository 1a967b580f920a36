"""Where the writers' journals stand at a size of the log, and at which sizes a time begins and ends.

Nothing of this is trusted: a wrong answer makes the next leaf nobody's next record. The bundles are searched from the
end, as far back as the writer that was quiet for the longest time requires.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from audit import entries as left
from audit import stored
from audit.event import timestamp
from audit.log import WIDTH
from audit.scan import time_of
from audit.segment import Chain, LineFault, Segment, claimed, writers
from audit.verifying import bundles
from audit.verifying.chains import STRIDE, Work, follow, pack
from audit.verifying.followers import Place, listing


class Sizes(NamedTuple):
    """Leaves `after` to `upto - 1`."""

    after: int
    upto: int


def standing(root: Path, log: Path, size: int) -> dict[str, Place]:
    """Return, by writer, how far the first `size` leaves cover its journal; raises OSError."""
    listed = {name: listing(root / name) for name in writers(root)}
    firsts = {
        entry: (name, at)
        for name, found in listed.items()
        for at, segment in enumerate(found)
        if (entry := _first_entry(name, segment))
    }
    reached = _latest(log, size, firsts)
    inside: dict[bytes, tuple[str, int]] = {}
    for name, at in reached.items():
        run = follow(Work(name, listed[name][at], growing=True))
        packed = run.entries
        inside |= {
            packed[start : start + STRIDE]: (name, start // STRIDE + 1) for start in range(0, len(packed), STRIDE)
        }
    records = _latest(log, size, inside)
    return {name: Place(listed[name][at].key, records.get(name, 0)) for name, at in reached.items()}


def between(root: Path, log: Path, size: int, since: float | None, until: float | None) -> Sizes:
    """Return a stretch of the log of `size` leaves that has every record of that time; raises OSError."""
    after, upto = 0, size
    if since is not None:
        begins = _leaves(log, size, [_first_from(name, root, since) for name in writers(root)])
        after = min((index for index in begins if index is not None), default=size)
    if until is not None:
        ends = [entry for name in writers(root) if (entry := _last_before(name, root, until))]
        reached = _leaves(log, size, ends)
        upto = size if None in reached else max((index + 1 for index in reached if index is not None), default=after)
    return Sizes(min(after, upto), upto)


def backwards(log: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield (first leaf, packed entries) of each bundle, the last first; a damaged one has no entries."""
    for number in reversed(range(-(-size // WIDTH))):
        width = min(WIDTH, size - number * WIDTH)
        yield number * WIDTH, bundles.stored(log, "entries", number, width, STRIDE)[0]


def _latest(log: Path, size: int, wanted: dict[bytes, tuple[str, int]]) -> dict[str, int]:
    """Return, by writer, the largest number whose entry is the last one of that writer among the leaves."""
    waiting = {name for name, _ in wanted.values()}
    found: dict[str, int] = {}
    for _, packed in backwards(log, size):
        if not waiting:
            break
        hits = wanted.keys() & {packed[at : at + STRIDE] for at in range(0, len(packed), STRIDE)}
        for hit in hits:
            name, number = wanted[hit]
            if name in waiting:
                found[name] = max(number, found.get(name, -1))
        waiting -= found.keys()
    return found


def _leaves(log: Path, size: int, entries: Iterable[bytes]) -> list[int | None]:
    """Return the leaf of each packed entry, None where it is none."""
    asked = list(entries)
    wanted, found = {entry for entry in asked if entry}, dict[bytes, int]()
    for first, packed in backwards(log, size):
        if not wanted:
            break
        for hit in wanted & {packed[at : at + STRIDE] for at in range(0, len(packed), STRIDE)}:
            found[hit] = first + packed.index(hit) // STRIDE
            wanted.discard(hit)
    return [found.get(entry) for entry in asked]


def _first_from(name: str, root: Path, moment: float) -> bytes:
    """Return the packed entry of a writer's first record that says it is of `moment` or later, empty for none."""
    wanted, listed = timestamp(moment).encode(), listing(root / name)
    for at, segment in enumerate(listed):
        if at + 1 < len(listed) and b"" < time_of(_first_line(listed[at + 1])) < wanted:
            continue
        for line in _lines_of(segment):
            if time_of(line) >= wanted:
                return _entry(name, line)
    return b""


def _last_before(name: str, root: Path, moment: float) -> bytes:
    """Return the packed entry of a writer's last record that says it is from before `moment`, empty for none."""
    wanted, listed = timestamp(moment).encode(), listing(root / name)
    for at in reversed(range(len(listed))):
        neighbours = [time_of(_first_line(each)) for each in listed[at : at + 2]]
        if len(neighbours) == 2 and all(time >= wanted for time in neighbours):
            continue
        before = b""
        for line in _lines_of(listed[at]):
            if time_of(line) < wanted:
                before = line
        if before:
            return _entry(name, before)
    return b""


def _entry(writer: str, line: bytes) -> bytes:
    if not line:
        return b""
    try:
        return pack(Chain(writer, claimed(writer, line)).accept(line))
    except LineFault:
        return b""


def _first_entry(writer: str, segment: Segment) -> bytes:
    found = stored.now(segment)
    if found is not None and found.expired:
        try:
            held = left.load(found.path)
        except left.EntriesInvalid:
            return b""  # who follows the journal says what is wrong with it
        return pack(held.entry(held.seq))
    return _entry(writer, _first_line(segment))


def _first_line(segment: Segment) -> bytes:
    return next(_lines_of(segment), b"")


def _lines_of(segment: Segment) -> Iterator[bytes]:
    """Yield lines piece by piece, none of an expired segment."""
    offset = 0
    while (found := stored.now(segment)) is not None and not found.expired:
        try:
            data = stored.piece(found, offset, 1 << 16)
        except FileNotFoundError:
            continue
        except stored.SegmentDamaged:
            return
        end = data.rfind(b"\n") + 1
        if not end:
            return
        yield from (line + b"\n" for line in data[: end - 1].split(b"\n"))
        offset += end
