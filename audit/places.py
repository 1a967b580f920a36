"""Which leaf a record is: found quickly by the log's `places`, and told only when the tree's entry agrees.

`places` grows by whole lines (`audit.log`), and what it says of one writer and epoch grows with the line, except just
behind a crash of the auditor, where lines are overridden by later ones. So it is searched by halves; a hit is compared
with the entry that the tree has there, and where they differ, the tree's own entries are looked through, nearest first.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from audit.tiles import Tiles


def index_of(
    tiles: Tiles, writer: str, position: tuple[int, int], entry: bytes, *, thorough: bool = True
) -> int | None:
    """Return the leaf that holds `entry`, the record at (epoch, seq) of `writer`; None when the tree has no such.

    Without `thorough` also None where `places` does not lead there. Raises `audit.log.LogDamaged`.
    """
    hinted = _hinted(tiles.folder / "places", writer, position)
    if hinted is not None and hinted < tiles.size and tiles.entry(hinted) == entry:
        return hinted
    return tiles.find(entry, hinted or 0) if thorough else None


def _hinted(path: Path, writer: str, position: tuple[int, int]) -> int | None:
    """Return what `places` says, None when it says nothing."""
    if not path.exists() or not path.stat().st_size:
        return None
    epoch, seq = position
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        needle, found = b" %b %d " % (writer.encode(), epoch), None
        low, high = 0, len(lines)
        while low < high:
            middle = (low + high) // 2
            at = lines.find(needle, middle, high + len(needle) - 1)  # one that begins before `high`
            end = lines.find(b"\n", at) if at >= 0 else -1
            if end < 0:
                high = middle
                continue
            said = _numbers(lines[lines.rfind(b"\n", 0, at) + 1 : end])
            if said is None or said[1] > seq:
                high = middle
                continue
            index, first, count = said
            if seq < first + count:
                found = index + seq - first
            low = end
        return found


def _numbers(line: bytes) -> tuple[int, int, int] | None:
    """Return (index, seq, count) of a line, None where it is none."""
    parts = line.split()
    if len(parts) != 5 or not (parts[0].isdigit() and parts[3].isdigit() and parts[4].isdigit()):
        return None
    return int(parts[0]), int(parts[3]), int(parts[4])
