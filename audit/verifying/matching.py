"""Finds each leaf of the tree among the writers' next records: every writer's order is kept and none is missing.

Neighbouring leaves mostly come from one writer, since the auditor takes in many records of one journal at a time: so
whole stretches are compared at once. One hash table holds the writers' next entries; memory does not grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from audit.log import LogDamaged, entries, place_of
from audit.reader import IntegrityError
from audit.verifying.chains import LENGTH, STRIDE
from audit.verifying.followers import Follower


class Matching:
    """Takes leaves in their order. `unknown` counts those that are no writer's record and may have been deleted."""

    def __init__(self, followers: Mapping[str, Follower]) -> None:
        self.followers = followers
        self.unknown = 0
        self._by_next = {item.key: item for item in followers.values() if item.key}

    def take(self, leaves: bytes) -> int | None:
        """Take packed entries; returns how many bytes were taken before the first that is nobody's, None if all were.

        A leaf that is nobody's passes while some bounded writer's first record has not come: it may have been one of
        those that were deleted on record, of which there must be as many (`unknown`).
        """
        at, by_next = 0, self._by_next
        while at < len(leaves):
            follower = by_next.pop(leaves[at : at + STRIDE], None)
            if follower is None:
                if not any(item.starting for item in self.followers.values()):
                    return at
                self.unknown += 1
                at += STRIDE
                continue
            size = common(leaves, at, follower.entries, follower.at)
            follower.take(size)
            at += size
            if key := follower.key:
                by_next[key] = follower
        return None


def common(one: bytes, at: int, other: bytes, start: int) -> int:
    """Return for how many bytes two packed lists agree, of which the first entries are known to."""
    limit = min(len(one) - at, len(other) - start)
    size = step = STRIDE
    growing = True
    while size < limit:
        step = min(step, limit - size)
        if one[at + size : at + size + step] == other[start + size : start + size + step]:
            size += step
            step = step * 2 if growing else step
            continue
        if step == STRIDE:
            break
        growing = False
        step = step // STRIDE // 2 * STRIDE
    return size


def stranger(followers: Mapping[str, Follower], log: Path, size: int, index: int, entry: bytes) -> IntegrityError:
    """Return what is wrong where leaf `index`, proved by the tree, is nobody's next record.

    The record after a changed one still cites the leaf: that tells which one it is. Else it is of a writer whose
    journal breaks or ends here, or goes on with a record that the tree does not have. Where that may be said of several
    writers, `places` is asked; it can only choose among them, for nothing protects it.
    """
    hexed = entry.hex()
    for follower in followers.values():
        if follower.key and follower.cited == hexed:
            return _unlike(follower, hexed)
    later = _found_later(log, size, index, {item.key[len(LENGTH) :] for item in followers.values() if item.key})
    possible = [item for item in followers.values() if item.key[len(LENGTH) :] not in later]
    place = place_of(log, index)
    if place is not None and place[0] not in followers and place[1:] == (1, 1):
        return IntegrityError(place[0], "", 0, 1, "journal", "none", f"record 1:1 with entry {hexed}")
    broken = [item for item in possible if item.fault is not None and not item.key]
    hinted = [item for item in possible if place is not None and _fits(item, place)]
    chosen = hinted or broken or (possible if len(possible) == 1 else [])
    if chosen:
        fault = chosen[0].fault
        return fault if fault is not None and not chosen[0].key else _unlike(chosen[0], hexed)
    path, number = f"tile/entries, leaf {index}", 0
    expected = " or ".join(f"the next record of {item.writer}" for item in possible) or "a record of some journal"
    return IntegrityError("log", path, number, index, "entry", hexed, expected)


def _unlike(follower: Follower, expected: str) -> IntegrityError:
    name, line, epoch, seq = follower.next_place()
    if follower.key:
        return IntegrityError(
            follower.writer, name, line, seq, "entry", follower.key[len(LENGTH) :].hex(), expected
        )  # fmt: skip
    return IntegrityError(
        follower.writer, name, line, seq, "record", "none", f"record {epoch}:{seq} with entry {expected}"
    )  # fmt: skip


def _fits(follower: Follower, place: tuple[str, int, int]) -> bool:
    _, _, epoch, seq = follower.next_place()
    return place[0] == follower.writer and place[1:] in ((epoch, seq), (epoch + 1, 1))


def _found_later(log: Path, size: int, index: int, wanted: set[bytes]) -> set[bytes]:
    """Return which entries are leaves behind `index`."""
    found: set[bytes] = set()
    try:
        leaves: Iterable[bytes] = entries(log, size)
        for number, entry in enumerate(leaves):
            if number > index and entry in wanted:
                found.add(entry)
                if len(found) == len(wanted):
                    break
    except LogDamaged:
        return found
    return found
