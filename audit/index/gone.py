"""What the journals no longer have: trimmed away, or only its entries left. Rows of it leave the index, too.

A place in a journal is there if a segment that still has its lines begins at or before it and the next one after it.
So what is gone are intervals of places, half open: before the first segment, and from each expired one to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

from audit.segment import segments, writers

Place = tuple[int, int]
"""Epoch and number of a record."""
Interval = tuple[Place, Place]
Gone = Mapping[str, tuple[Interval, ...]]
"""Intervals by writer, in order; writers of whom nothing is gone are left out."""

_START: Final[Place] = (0, 0)


def gone(journals: Path) -> dict[str, tuple[Interval, ...]]:
    """Return what is gone of every journal; the newest segment of each is there, or being written."""
    found = ((writer, _of(journals / writer)) for writer in writers(journals))
    return {writer: intervals for writer, intervals in found if intervals}


def _of(folder: Path) -> tuple[Interval, ...]:
    known = segments(folder)
    intervals: list[Interval] = [(_START, known[0].key)] if known and known[0].key > (1, 1) else []
    for segment, following in pairwise(known):
        if not segment.expired:
            continue
        if intervals and intervals[-1][1] == segment.key:
            intervals[-1] = (intervals[-1][0], following.key)
        else:
            intervals.append((segment.key, following.key))
    return tuple(intervals)


def condition(lost: Gone) -> tuple[str, list[object]]:
    """Return the SQL condition, with its parameters, that a row's place (`writer`, `epoch`, `seq`) is gone."""
    parts, parameters = ["false"], list[object]()
    for writer, intervals in lost.items():
        for (epoch, seq), (next_epoch, next_seq) in intervals:
            parts.append(
                "(writer = ? AND (epoch > ? OR (epoch = ? AND seq >= ?)) AND (epoch < ? OR (epoch = ? AND seq < ?)))"
            )
            parameters += [writer, epoch, epoch, seq, next_epoch, next_epoch, next_seq]
    return " OR ".join(parts), parameters
