"""What a sealed segment spans: its last record, and the times of its first and last one, from the segment itself."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from audit import stored
from audit.scan import time_of
from audit.segment import LineFault, Link, Segment, claimed


class Span(NamedTuple):
    """Times are seconds since the epoch. Nothing here is proved: the lines say it of themselves."""

    last: Link  # the place before the last record is `prev` of it; this is the last record's own number
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
