"""Deletes a segment at the end of its retention. Synchronous; `audit.keeping.keeper` decides when.

Order of steps, and why a crash between any two is harmless:

1. `entries_of`: what will be left, from the lines themselves. They have to continue the chain of the segment before and
   be continued by the one behind, else nothing is deleted: a segment that was tampered with is evidence.
2. The keeper writes `audit.expired` into the auditor's journal (writer, epoch, numbers, SHA-256 over the entries) and
   waits until a signed checkpoint covers that record. A crash from here on: the record names a segment that is still
   there, which proves nothing wrong; the step is begun again and there are two such records.
3. `leave`: `.entries` is written, synced and renamed, the folder is synced. The lines are still there and count
   (`segment.FORMS`): nothing changed for anyone.
4. `delete`, in a later look: `.entries` is read back and compared with the record; then the lines go and the folder is
   synced. A crash between the two names (`.jsonl`, `.jsonl.zst`) leaves one of them, which counts.

3 and 4 happen under the holds' lock, after the holds were read (`audit.holds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from audit import durable, stored
from audit.entries import EntriesInvalid, Expired, load, stays
from audit.event import Action, event, timestamp
from audit.keeping.spans import Span
from audit.retention import class_of
from audit.seekable import SegmentDamaged
from audit.segment import COMPRESSED, EXPIRED, PLAIN, Chain, LineFault, Link, Segment, claimed, name_of


class NotExpirable(Exception):
    """The segment is not what the chain says: it stays, for `audit.verify` to name and people to look at."""


def entries_of(segment: Segment, neighbours: Sequence[Segment]) -> Expired:
    """Return what will be left of a segment that has its lines; `neighbours` are the segments before and behind it.

    Raises `NotExpirable`, FileNotFoundError when it has another form by now, OSError.
    """
    writer, kept, entries = segment.path.parent.name, {}, bytearray()
    start: Link | None = None
    chain = Chain(writer)
    try:
        for line in stored.lines(segment):
            if start is None:
                start = claimed(writer, line)
                chain = Chain(writer, start)
            entries += chain.accept(line)
            if stays(line):
                kept[chain.seq] = line
    except (LineFault, SegmentDamaged) as fault:
        raise NotExpirable(f"{writer}/{segment.path.name}: {fault}") from fault
    if start is None or (start.epoch, start.seq + 1) != segment.key:
        raise NotExpirable(f"{writer}/{segment.path.name}: its lines do not begin with the record it is named by")
    held = Expired(writer, *segment.key, start.entry, bytes(entries), kept)
    for other in neighbours:
        _fits(held, segment, other)
    return held


def _fits(held: Expired, segment: Segment, other: Segment) -> None:
    """Check that the chain runs on between the segment and a neighbour of it, where that has a record yet."""
    try:
        before, last = _edges(stored.now(other) or other)
    except (EntriesInvalid, SegmentDamaged) as fault:
        raise NotExpirable(f"{held.writer}/{segment.path.name}: beside it {other.path.name}: {fault}") from fault
    except (LineFault, FileNotFoundError):
        return  # still being written, or bounded and gone: what the checkpoint covers is compared by the keeper
    if other.key < segment.key and last != held.prev:
        raise NotExpirable(f"{held.writer}/{segment.path.name}: does not continue {other.path.name}")
    if other.key > segment.key and before != held.end.entry:
        raise NotExpirable(f"{held.writer}/{segment.path.name}: is not continued by {other.path.name}")


def _edges(segment: Segment) -> tuple[bytes, bytes]:
    """Return the entry before the segment's first record and its last record's own."""
    if segment.expired:
        held = load(segment.path)
        return held.prev, held.end.entry
    writer = segment.path.parent.name
    first, last = stored.ends(segment)
    return claimed(writer, first).entry, Chain(writer, claimed(writer, last)).accept(last)


def deletion(held: Expired, span: Span, now: float) -> dict[str, Any]:
    """Return the record that says what is deleted."""
    kind = class_of(held.writer)
    return event(Action.AUDIT_EXPIRED, now, {
        "sekisho.expired.writer": held.writer, "sekisho.expired.class": kind.value if kind else None,
        "sekisho.expired.epoch": held.epoch, "sekisho.expired.first_seq": held.seq,
        "sekisho.expired.last_seq": held.last_seq, "sekisho.expired.records": held.count,
        "sekisho.expired.sha256": held.digest.hex(), "sekisho.expired.first_at": timestamp(span.first_at),
        "sekisho.expired.last_at": timestamp(span.last_at),
    })  # fmt: skip


def leave(segment: Segment, held: Expired) -> None:
    """Make what is left durable beside the lines; raises OSError."""
    durable.replace(segment.under(EXPIRED).path, held.encode(), 0o400)


def is_left(segment: Segment, digest: bytes) -> bool:
    """Tell whether what is left lies beside the lines, and is what the record with this digest names."""
    try:
        held = load(segment.under(EXPIRED).path)
    except (FileNotFoundError, EntriesInvalid):
        return False
    return (held.epoch, held.seq) == segment.key and sha256(held.entries).digest() == digest


def delete(segment: Segment) -> None:
    """Delete the lines, of which `is_left` is true; raises OSError."""
    for form in (COMPRESSED, PLAIN):  # the plain ones last: as long as anything is there, what counts is whole
        segment.under(form).path.unlink(missing_ok=True)
    segment.path.with_name(name_of(*segment.key, "torn")).unlink(missing_ok=True)  # a piece of a record of that time
    durable.sync_directory(segment.path.parent)
