"""The first look of a comparison: hours that agree are told from those that have to be read again, in little memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from audit.elastic.derivation import Derived
from audit.elastic.differences import Bucket
from audit.elastic.fingerprint import Tally
from audit.scan import Position
from audit.segment import Link

PART: Final = 100_000  # documents compared one by one at the same time

Key = tuple[str, str]
"""Dataset and document id."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """How far the shipper was, read before the copy: its cursor and its dead letters.

    `shown` are the ids of `.open` documents that it made for requests still open, `aside` those of dead letters.
    """

    done: Mapping[str, Link]
    shown: frozenset[str]
    aside: frozenset[str]

    def passed(self, writer: str, place: Position) -> bool:
        """Whether the cursor is at or behind this record."""
        link = self.done.get(writer)
        return link is not None and place <= (link.epoch, link.seq)

    def calls_for(self, derived: Derived) -> bool:
        """Whether a document has to be stored by now."""
        name = derived.document.id
        if name in self.aside:
            return False
        return name in self.shown or (derived.needed and self.passed(derived.writer, derived.place))


class Survey:
    """Counts and sums of both sides by hour and dataset.

    Stored documents that need not be there (younger than the cursor, `.open`) are no part of the sums: they are `put
    apart` one by one until a journal accounts for them.
    """

    def __init__(self) -> None:
        self.ours: dict[Bucket, Tally] = defaultdict(Tally)
        self.theirs: dict[Bucket, Tally] = defaultdict(Tally)
        self.doubtful: set[Bucket] = set()
        self._apart: dict[Key, tuple[Bucket, int]] = {}

    def put_apart(self, bucket: Bucket, key: Key, number: int) -> None:
        """Keep a stored document until a journal accounts for it; its hour is read again where that cannot be."""
        if key in self._apart or len(self._apart) >= PART:
            self.doubtful.add(bucket)
        else:
            self._apart[key] = bucket, number

    def stands_apart(self, key: Key) -> bool:
        """Whether a document of this id is put apart."""
        return key in self._apart

    def settle(self, key: Key, number: int) -> None:
        """A journal accounts for a document that stands apart; where it is another one, its hour is read again."""
        bucket, found = self._apart.pop(key)
        if found != number:
            self.doubtful.add(bucket)

    def finish(self) -> None:
        """Doubt the hours whose sums differ, and those of documents that nothing accounts for."""
        self.doubtful.update(bucket for bucket, _ in self._apart.values())
        for bucket in self.ours.keys() | self.theirs.keys():
            if self.ours[bucket] != self.theirs[bucket]:
                self.doubtful.add(bucket)

    def agreeing(self) -> set[Bucket]:
        """Return the hours that need no second look."""
        return (self.ours.keys() | self.theirs.keys()) - self.doubtful

    def portions(self) -> Iterator[tuple[frozenset[Bucket], int, int]]:
        """Yield what to read again at once: some hours whole (part 0 of 1), or one of several parts of a large one."""
        some: set[Bucket] = set()
        size = 0
        for bucket in sorted(self.doubtful):
            count = max(self.ours[bucket].count, self.theirs[bucket].count)
            if some and size + count > PART:
                yield frozenset(some), 0, 1
                some, size = set(), 0
            if count > PART:
                parts = -(-count // PART)
                yield from ((frozenset({bucket}), part, parts) for part in range(parts))
                continue
            some.add(bucket)
            size += count
        if some:
            yield frozenset(some), 0, 1
