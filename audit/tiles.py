"""Single hashes and entries out of a log's tiles: what a proof needs, and no more of the tree than that.

A tile of level L holds the roots of complete subtrees of height 8·L; those between lie at most 7 levels above, so one
tile gives any of them. Read from the files of `audit.log`; nothing here is trusted until a proof made from it leads to
a signed root.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from audit.log import ENTRY_SIZE, STRIDE, WIDTH, LogDamaged, read_tile, tile_name
from audit.merkle import EMPTY_ROOT, node_hash

_KEPT: Final = 256  # tiles held in memory, about 40 KiB each with all that is over them: neighbours share theirs


class Tiles:
    """The tree of `size` leaves under `folder`. Also answers for every smaller tree, as its start."""

    def __init__(self, folder: Path, size: int) -> None:
        """`size` is that of a stored checkpoint: the tiles of that size are there."""
        self.folder = folder
        self.size = size
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._above: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()

    def entry(self, index: int) -> bytes:
        """Return the 32 bytes of entry `index`; raises `LogDamaged`."""
        start = index % WIDTH * STRIDE + STRIDE - ENTRY_SIZE
        return self._tile("entries", index // WIDTH, self.size, STRIDE)[start : start + ENTRY_SIZE]

    def find(self, entry: bytes, near: int = 0) -> int | None:
        """Return the index of `entry`, looking at all bundles, those about leaf `near` first; raises `LogDamaged`."""
        bundles = -(-self.size // WIDTH)
        for number in _outward(min(near // WIDTH, bundles - 1), bundles):
            data = self._tile("entries", number, self.size, STRIDE)
            at = data.find(entry)
            while at >= 0 and at % STRIDE != STRIDE - ENTRY_SIZE:
                at = data.find(entry, at + 1)
            index = number * WIDTH + at // STRIDE
            if at >= 0 and index < self.size:
                return index
        return None

    def node(self, height: int, number: int) -> bytes:
        """Return the root over leaves `number << height` to `(number + 1) << height`; raises `LogDamaged`."""
        level, above = divmod(height, 8)
        first = number << above
        rows = self._rows(level, first // WIDTH)
        return rows[above][first % WIDTH >> above]

    def root(self, start: int, end: int) -> bytes:
        """Return the root over leaves `start` to `end`, where `start` is that of a subtree; raises `LogDamaged`."""
        pieces: list[bytes] = []
        while start < end:
            height = (end - start).bit_length() - 1
            pieces.append(self.node(height, start >> height))
            start += 1 << height
        if not pieces:
            return EMPTY_ROOT
        root = pieces.pop()
        while pieces:
            root = node_hash(pieces.pop(), root)
        return root

    def _rows(self, level: int, number: int) -> list[list[bytes]]:
        """Return a tile's hashes and the complete subtrees over them, by their height above the tile's level."""
        rows = self._above.get((level, number))
        if rows is None:
            tile = self._tile(str(level), number, self.size >> 8 * level, ENTRY_SIZE)
            row = [tile[at : at + ENTRY_SIZE] for at in range(0, len(tile), ENTRY_SIZE)]
            rows = [row]
            while len(row) > 1:
                row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
                rows.append(row)
            self._above[level, number] = rows
            if len(self._above) > _KEPT:
                self._above.popitem(last=False)
        self._above.move_to_end((level, number))
        return rows

    def _tile(self, kind: str, number: int, count: int, stride: int) -> bytes:
        """Return at least the bytes of this tile that a tree of so many (`count`) nodes in its row has."""
        found = self._kept.get((kind, number))
        if found is None:
            width = min(WIDTH, count - number * WIDTH)
            found = read_tile(self.folder / "tile" / kind, number, width)
            if len(found) < width * stride:
                name = f"tile/{kind}/{tile_name(number)}"
                raise LogDamaged(f"{name}: got {len(found)} bytes, expected {width * stride}")
            self._kept[kind, number] = found
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end((kind, number))
        return found


def inclusion_path(tiles: Tiles, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size` leaves (RFC 6962 §2.1.1), nearest sibling first."""
    if not 0 <= index < size <= tiles.size:
        raise ValueError(f"index: got {index} of {size}, expected 0 to {min(size, tiles.size) - 1}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(tiles.root(middle, end))
            end = middle
        else:
            path.append(tiles.root(start, middle))
            start = middle
    return path[::-1]


def consistency_path(tiles: Tiles, old: int, size: int) -> list[bytes]:
    """Return the proof that the tree of `old` leaves is the start of the one of `size` (RFC 6962 §2.1.2)."""
    if not 0 < old <= size <= tiles.size:
        raise ValueError(f"old size: got {old} of {size}, expected 1 to {min(size, tiles.size)}")
    path: list[bytes] = []
    start, end = 0, size
    whole = True  # the old tree's subtree here is the whole old tree, whose root the verifier has
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(tiles.root(middle, end))
            end = middle
        else:
            path.append(tiles.root(start, middle))
            start, whole = middle, False
    if not whole:
        path.append(tiles.root(start, end))
    return path[::-1]


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _outward(middle: int, count: int) -> Iterator[int]:
    """Yield 0 to `count` - 1, nearest to `middle` first."""
    inside: Callable[[int], bool] = range(count).__contains__
    for distance in range(count):
        yield from filter(inside, {middle - distance, middle + distance})
