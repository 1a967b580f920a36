"""What is kept: by writer, in which form, since when, what comes to its end next, and what a hold keeps from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit import stored
from audit.holds import Hold
from audit.keeping.spans import Span, SpanUnknown, span
from audit.retention import Retention, class_of
from audit.seekable import SegmentDamaged
from audit.segment import COMPRESSED, EXPIRED, Segment, segments, writers


@dataclass(frozen=True, slots=True)
class Stock:
    """One writer's records. Bytes are on disk; times are seconds since the epoch, None where there is none."""

    writer: str
    kind: str  # its retention class, "" = unknown: kept for ever
    age: float | None  # seconds that its records are kept, None for ever
    segments: int
    records: int  # that are there
    expired: int  # records of which only the entries are left
    plain_bytes: int
    compressed_bytes: int
    entries_bytes: int
    oldest_at: float | None
    next_at: float | None  # when the next segment comes to its end, which no hold keeps
    next_records: int
    holds: tuple[str, ...]  # of those that name this writer


@dataclass(frozen=True, slots=True)
class Freed:
    """What of one writer could be deleted at once if a hold were lifted."""

    writer: str
    segments: int
    records: int
    first_at: float
    last_at: float


def stock(journals: Path, retention: Retention, holds: Sequence[Hold]) -> list[Stock]:
    """Return what is kept of every writer; raises OSError. Reads the ends of few segments, never all of them."""
    return [_of(journals / name, retention, holds) for name in writers(journals)]


def _of(folder: Path, retention: Retention, holds: Sequence[Hold]) -> Stock:
    writer, found = folder.name, segments(folder)
    sizes = dict.fromkeys(("plain", COMPRESSED, EXPIRED), 0)
    records = {True: 0, False: 0}
    for segment, count in zip(found, _counts(found), strict=True):
        records[segment.expired] += count
        sizes[segment.form if segment.form in sizes else "plain"] += _size(segment)
    oldest = next(iter(_spans(found)), None)
    coming = next(((segment, known) for segment, known in _spans(found) if not _held(holds, writer, known)), None)
    age = retention.age_of(writer)
    return Stock(
        writer=writer, kind=class_of(writer) or "", age=age, segments=len(found), records=records[False],
        expired=records[True], plain_bytes=sizes["plain"], compressed_bytes=sizes[COMPRESSED],
        entries_bytes=sizes[EXPIRED], oldest_at=oldest[1].first_at if oldest else None,
        next_at=retention.ends(writer, coming[1].last_at) if coming else None,
        next_records=coming[1].last.seq - coming[0].first_seq + 1 if coming and age is not None else 0,
        holds=tuple(hold.id for hold in holds if hold.names(writer)),
    )  # fmt: skip


def freed(journals: Path, retention: Retention, holds: Sequence[Hold], lifted: str, now: float) -> list[Freed]:
    """Return what could be deleted at `now` if the hold `lifted` were gone from `holds`; raises OSError."""
    gone = [hold for hold in holds if hold.id == lifted]
    others = [hold for hold in holds if hold.id != lifted]
    told: list[Freed] = []
    for writer in writers(journals):
        hit: list[tuple[Segment, Span]] = []
        for segment, known in _spans(segments(journals / writer)):
            end = retention.ends(writer, known.last_at)
            if end is None or end > now:
                break
            if segment.sealed and _held(gone, writer, known) and not _held(others, writer, known):
                hit.append((segment, known))
        if hit:
            records = sum(known.last.seq - segment.first_seq + 1 for segment, known in hit)
            told.append(Freed(writer, len(hit), records, hit[0][1].first_at, hit[-1][1].last_at))
    return told


def _held(holds: Sequence[Hold], writer: str, known: Span) -> bool:
    return any(hold.holds(writer, known.first_at, known.last_at) for hold in holds)


def _spans(found: Sequence[Segment]) -> Iterator[tuple[Segment, Span]]:
    """Yield the segments that have their lines with what they span, from the oldest on."""
    for segment in found:
        if not segment.expired:
            try:
                yield segment, span(segment)
            except (SpanUnknown, SegmentDamaged, FileNotFoundError):
                continue  # empty yet, damaged (which `verify` names), or gone meanwhile


def _counts(found: Sequence[Segment]) -> Iterator[int]:
    """Yield the number of records of each segment: from the name of the next one, where that is of the same epoch."""
    for at, segment in enumerate(found):
        following = found[at + 1] if at + 1 < len(found) else None
        if following is not None and following.epoch == segment.epoch:
            yield following.first_seq - segment.first_seq
        elif segment.expired:
            yield stored.count(segment)
        else:
            yield next((known.last.seq - segment.first_seq + 1 for _, known in _spans([segment])), 0)


def _size(segment: Segment) -> int:
    try:
        return segment.path.stat().st_size
    except FileNotFoundError:
        return 0
