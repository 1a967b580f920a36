"""What the index must forget: records whose retention ended, of which the journals hold only the entries."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from audit import stored
from audit.segment import Segment, segments, writers


class Gone(NamedTuple):
    """Records of one writer and epoch, from `first` to `last`, that expired."""

    writer: str
    epoch: int
    first: int
    last: int


def expired(journals: Path) -> tuple[Gone, ...]:
    """Return what has expired, neighbours joined, so that there are few however many segments there were."""
    return tuple(gone for name in writers(journals) for gone in _of(name, segments(journals / name)))


def _of(writer: str, found: list[Segment]) -> list[Gone]:
    joined: list[Gone] = []
    for segment, following in pairwise([*found, None]):
        if segment is None or not segment.expired:
            continue
        if following is not None and following.epoch == segment.epoch:
            last = following.first_seq - 1
        else:
            last = segment.first_seq + stored.count(segment) - 1
        before = joined[-1] if joined else None
        if before is not None and (before.epoch, before.last + 1) == segment.key:
            joined[-1] = before._replace(last=last)
        else:
            joined.append(Gone(writer, segment.epoch, segment.first_seq, last))
    return joined
