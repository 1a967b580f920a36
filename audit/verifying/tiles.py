"""The tree over the entry bundles: its levels compared with the stored tiles, its roots, and which file differs.

The level-1 node of every bundle comes from its entries; of a bundle outside the span, from the stored tile of level 1.
Either way the root that they lead to has to be the signed one, which no other nodes give. So once it is, a stored file
that disagrees with the nodes is the bad one, and it is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from audit.checkpoint import Checkpoint
from audit.log import ENTRY_SIZE, WIDTH
from audit.merkle import Frontier, root_of_full
from audit.reader import IntegrityError
from audit.verifying.bundles import Hashed, Unlike, path_of, split, stored


class Bad(NamedTuple):
    """A stored file that is not what the tree proves."""

    path: str
    number: int  # of the hash or entry in it, from 1
    leaf: int  # the first one that it is about
    got: str
    expected: str

    def error(self) -> IntegrityError:
        """As it is told."""
        return IntegrityError("log", self.path, self.number, self.leaf, "tile", self.got, self.expected)


class Tree:
    """Grows from the left, bundle by bundle, to the size of a checkpoint."""

    def __init__(self, log: Path, size: int) -> None:
        self.log = log
        self.size = size
        self.bad: list[Bad] = []
        self._rows: list[list[bytes]] = [[], []]  # by level, those nodes whose tile is not full
        self._counts = [0, 0]
        self._bottom = b""
        self._unlike: list[tuple[Unlike, bool]] = []  # with whether the bundle's own hashes were taken

    def add(self, hashed: Hashed) -> None:
        """Take the next bundles; raises `IntegrityError` where neither a bundle nor its tile can be read."""
        chosen = {each.number: self._choose(each) for each in hashed.unlike}
        for number, root in enumerate(hashed.roots, hashed.first):
            self._push(1, root_of_full(split(chosen[number])) if number in chosen else root)
        last = hashed.first + len(hashed.roots)
        self._bottom = chosen.get(last, hashed.row)

    def skip(self, first: int, last: int) -> None:
        """Take bundles `first` to `last - 1`, all full, as the tiles of level 1 have them."""
        while first < last:
            tile = first // WIDTH
            nodes = split(self._stored(1, tile))
            end = min(last, (tile + 1) * WIDTH)
            for number in range(first, end):
                self._push(1, nodes[number % WIDTH])
            first = end

    def prove(self, checkpoint: Checkpoint, kept: Iterable[Checkpoint]) -> None:
        """Compare everything with the signed root; raises `IntegrityError` naming the first file or root that differs.

        `kept` are smaller or equal trees that this one has to begin with.
        """
        root = self._root()
        if root != checkpoint.root:
            root = self._second_thought(checkpoint.root) or root
        if root != checkpoint.root:
            raise root_differs(checkpoint, root)
        for unlike, own in self._unlike:
            self.bad.append(_bad(unlike, own, self._width(0, unlike.number)))
        for level in range(1, len(self._rows)):
            if self._rows[level]:
                self._compare(level, self._counts[level] // WIDTH)
        if self.bad:
            raise min(self.bad, key=lambda bad: (bad.leaf, bad.path)).error()
        for old in kept:
            root = self.root_at(old.size)
            if root != old.root:
                raise root_differs(old, root)

    def root_at(self, size: int) -> bytes:
        """Return the root of the first `size` leaves from the stored tiles, once those are proved."""
        roots: list[bytes] = []
        for level in reversed(range(len(self._rows))):
            number, width = divmod(size >> (8 * level), WIDTH)
            if width:
                roots += _peaks(split(self._stored(level, number))[:width])
        return Frontier(size, roots).root()

    def _choose(self, unlike: Unlike) -> bytes:
        """Return the leaf hashes that are likely right; if they are, the root will say so."""
        if unlike.told and unlike.tile_told:
            bad = _bad(unlike, False, self._width(0, unlike.number))
            raise bad.error()
        own = not unlike.told
        if own and not unlike.tile_told and len(unlike.entries) == WIDTH * ENTRY_SIZE:
            nodes, _ = stored(self.log, "1", unlike.number // WIDTH, self._width(1, unlike.number // WIDTH))
            at = unlike.number % WIDTH * ENTRY_SIZE
            own = nodes[at : at + ENTRY_SIZE] != root_of_full(split(unlike.tile))
        self._unlike.append((unlike, own))
        return unlike.entries if own else unlike.tile

    def _second_thought(self, wanted: bytes) -> bytes | None:
        """The last bundle has no node of level 1: take its tile's hashes if those lead to the root."""
        if not self._unlike or self._unlike[-1][0].entries != self._bottom or not self._unlike[-1][0].tile:
            return None
        self._bottom, before = self._unlike[-1][0].tile, self._bottom
        if self._root() != wanted:
            self._bottom = before
            return None
        self._unlike[-1] = self._unlike[-1][0], False
        return wanted

    def _push(self, level: int, node: bytes) -> None:
        if level == len(self._rows):
            self._rows.append([])
            self._counts.append(0)
        row = self._rows[level]
        row.append(node)
        self._counts[level] += 1
        if len(row) == WIDTH:
            self._compare(level, self._counts[level] // WIDTH - 1)
            above = root_of_full(row)
            row.clear()
            self._push(level + 1, above)

    def _compare(self, level: int, number: int) -> None:
        row = self._rows[level]
        nodes, told = stored(self.log, str(level), number, len(row))
        if nodes != b"".join(row):
            at, got = _first_difference(nodes, b"".join(row))
            leaf = (number * WIDTH + at) << (8 * level)
            self.bad.append(Bad(path_of(str(level), number, len(row)), at + 1, leaf, told or got, row[at].hex()))

    def _stored(self, level: int, number: int) -> bytes:
        width = self._width(level, number)
        nodes, told = stored(self.log, str(level), number, width)
        if told:
            leaf = number * WIDTH << (8 * level)
            raise Bad(path_of(str(level), number, width), 1, leaf, told, f"{width} hashes").error()
        return nodes

    def _width(self, level: int, number: int) -> int:
        return min(WIDTH, (self.size >> (8 * level)) - number * WIDTH)

    def _root(self) -> bytes:
        roots = [peak for row in reversed(self._rows[1:]) for peak in _peaks(row)]
        return Frontier(self.size, roots + _peaks(split(self._bottom))).root()


def _peaks(row: list[bytes]) -> list[bytes]:
    """Return the roots of the complete subtrees of a row, largest first."""
    peaks, start = [], 0
    for bit in reversed(range(8)):
        if len(row) & 1 << bit:
            peaks.append(root_of_full(row[start : start + (1 << bit)]))
            start += 1 << bit
    return peaks


def _bad(unlike: Unlike, own: bool, width: int) -> Bad:
    """Return which file of the two is bad: the tile, when the bundle's own hashes led to the root."""
    kind, told = ("0", unlike.tile_told) if own else ("entries", unlike.told)
    right, wrong = (unlike.entries, unlike.tile) if own else (unlike.tile, unlike.entries)
    at, got = _first_difference(wrong, right)
    expected = right[at * ENTRY_SIZE : (at + 1) * ENTRY_SIZE].hex() or "a file"
    return Bad(path_of(kind, unlike.number, width), at + 1, unlike.number * WIDTH + at, told or got, expected)


def _first_difference(wrong: bytes, right: bytes) -> tuple[int, str]:
    """Return the number of the first hash that differs, and it."""
    for at, (got, expected) in enumerate(zip(split(wrong), split(right), strict=False)):
        if got != expected:
            return at, got.hex()
    return 0, "none"


def root_differs(checkpoint: Checkpoint, got: bytes) -> IntegrityError:
    """Return how a tree that is not the signed one is told."""
    what = f"root at size {checkpoint.size}"
    return IntegrityError("log", "checkpoint", 0, checkpoint.size, what, got.hex(), checkpoint.root.hex())
