"""Each selected record with its leaf and its proof, in the order of the log; what the checkpoint lacks is counted.

A record that the tree does not have is not covered yet, if it stands behind all of its writer's that the tree has; if
one behind it is there, it is not what was written, and no bundle is made of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from audit.bundle.selection import Selected
from audit.checkpoint import Checkpoint
from audit.merkle import ProofInvalid, leaf_hash, verify_inclusion
from audit.places import index_of
from audit.proof import entry_of
from audit.scan import RawLine
from audit.segment import LineFault
from audit.tiles import Tiles, inclusion_path


class NotAsWritten(Exception):
    """A record is not the one that the log has: `name` is its id, `what` the reason."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name
        self.what = what


@dataclass(frozen=True, slots=True)
class Covered:
    """A record, its leaf and the path from there to the checkpoint's root."""

    raw: RawLine
    index: int
    path: tuple[bytes, ...]
    gapless: bool  # as in `audit.bundle.selection.Selected`


@dataclass(slots=True)
class Coverage:
    """Finds the leaves of one tree. `uncovered` grows while `of` is read: ids of records behind the checkpoint."""

    tiles: Tiles
    checkpoint: Checkpoint
    uncovered: dict[str, int] = field(default_factory=dict)  # number of records by writer

    def of(self, selected: Mapping[str, Iterator[Selected]]) -> Iterator[Covered]:
        """Yield what is covered, in the order of the log; raises `NotAsWritten`, `audit.log.LogDamaged`."""
        streams = [self._writers(writer, records) for writer, records in selected.items()]
        for index, _, each in heapq.merge(*streams, key=lambda found: found[:2]):
            yield self._proven(each, index)

    def _writers(self, writer: str, records: Iterator[Selected]) -> Iterator[tuple[int, str, Selected]]:
        previous = -1
        missing = ""
        for each in records:
            name, entry = each.raw.id, _entry(each.raw)
            index = self._next(previous, entry)
            if index is None:
                index = index_of(self.tiles, writer, each.raw.position, entry, thorough=not missing)
            if index is None:
                missing = missing or name
                self.uncovered[writer] = self.uncovered.get(writer, 0) + 1
                continue
            if missing:
                raise NotAsWritten(missing, "the log has another record in its place")
            if index <= previous:
                raise NotAsWritten(name, f"leaf {index} stands before that of the record before it, {previous}")
            previous = index
            yield index, writer, each

    def _next(self, previous: int, entry: bytes) -> int | None:
        following = previous + 1
        return following if 0 < following < self.tiles.size and self.tiles.entry(following) == entry else None

    def _proven(self, each: Selected, index: int) -> Covered:
        path = inclusion_path(self.tiles, index, self.checkpoint.size)
        try:
            verify_inclusion(leaf_hash(_entry(each.raw)), index, self.checkpoint.size, path, self.checkpoint.root)
        except ProofInvalid as error:
            raise NotAsWritten(each.raw.id, str(error)) from error
        return Covered(each.raw, index, tuple(path), each.gapless)


def _entry(raw: RawLine) -> bytes:
    try:
        return entry_of(raw.line)
    except LineFault as error:
        raise NotAsWritten(raw.id, str(error)) from error
