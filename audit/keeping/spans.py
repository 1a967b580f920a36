"""What a sealed segment spans: its last record, and the times of its first and last one, from the segment itself.

A machine whose clock was wrong wrote wrong times: a year too early, and fresh records would be deleted at once; a year
too late, and old ones would stay. So a span that contradicts the segments around it is not `believed`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from audit import stored
from audit.scan import SLACK, time_of
from audit.segment import LineFault, Link, Segment, claimed

_BORN: Final = 1_577_836_800.0  # 2020-01-01: before it nothing of this program was ever recorded


class Span(NamedTuple):
    """Times are seconds since the epoch. Nothing here is proved: the lines say it of themselves."""

    last: Link  # the last record's number; its entry is not told
    first_at: float
    last_at: float


class SpanUnknown(Exception):
    """The segment's first or last line does not say what time it is of."""


def span(segment: Segment) -> Span:
    """Return what a segment that has its lines spans.

    Raises `SpanUnknown`, FileNotFoundError when the segment has another form by now, OSError.
    """
    first, last = stored.ends(segment)
    writer = segment.path.parent.name
    try:
        before = claimed(writer, last)
        times = [datetime.fromisoformat(time_of(line).decode()).timestamp() for line in (first, last)]
    except (LineFault, ValueError) as error:
        raise SpanUnknown(f"{writer}/{segment.path.name}: {error}") from error
    return Span(Link(before.epoch, before.seq + 1, b""), min(times), max(times))


def believed(spans: Sequence[Span], now: float) -> list[Span]:
    """Return segments' spans, in the journal's order, as they can be believed at `now`.

    One that ends before this program was, after `now`, or before those in front of it ended, lies between the latest of
    those in front and the first behind that can be believed; where there are none, it is as if it had just ended.
    """
    known: list[float] = []  # by segment, when the latest in front of it ended
    latest = -math.inf
    for each in spans:
        known.append(latest)
        if _BORN <= each.last_at <= now + SLACK:
            latest = max(latest, each.last_at)
    told: list[Span] = []
    following = math.inf
    for each, before in zip(reversed(spans), reversed(known), strict=True):
        if max(_BORN, before - SLACK) <= each.last_at <= now + SLACK:
            following = each.first_at
            told.append(each)
        else:
            around = [at for at in (before, following) if math.isfinite(at)] or [now]
            told.append(each._replace(first_at=min(around), last_at=max(around)))
    return told[::-1]
