"""The files of one journal, as its writer sees them. Synchronous; called by the writer's thread only.

Order of steps, and why a crash between any two is harmless:

* **settle** (start, or after a failure): whole records of the segment left behind are kept, what follows the last of
  them goes to `.torn` first and only then is the segment sealed without it. The records are written to a new file: a
  sync of the old one may have failed, in this process or in the one before, and is never retried (`durable`). Once the
  new file stands, the old one counts for nothing and goes. Doing it twice gives the same files. A `.torn` that no later
  epoch has told of is told of again.
* **begin** an epoch: its first record is written and synced as `.opening`, then renamed to `.active`, then the folder
  is synced. Before the rename nobody has seen the record; after it the record is durable.
* **write / sync**: append, fdatasync. The folder is synced before the first sync of a new segment counts.
* **seal** (nothing unsynced is left): mode 0400, rename `.active` → `.jsonl`, sync the folder. A crash before the
  rename leaves an `.active` of whole records, which settle seals.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audit import durable, stored
from audit.segment import SEALED, Chain, LineFault, Link, Segment, claimed, name_of, segments, whole_lines

_TORN: Final = re.compile(r"(\d{6,})-(\d{12,})\.torn")


class JournalLocked(OSError):
    """Another process writes this journal."""


@dataclass(frozen=True, slots=True)
class Torn:
    """A tail that was set aside."""

    file: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found in the folder: the last whole record (None: no journal yet) and any tail set aside."""

    last: Link | None
    torn: Torn | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment that will not change any more."""

    segment: Segment
    bytes: int
    last: Link


class SegmentWriter:
    """Owns the folder of one writer, exclusively, until `release`."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.folder = folder
        self.writer = writer
        self.size = 0  # bytes in the open segment
        self.opened_at = 0.0  # monotonic time of its creation
        self._descriptor = -1
        self._path = folder
        self._key = (0, 0)
        self._folder_dirty = False
        self._lock = -1

    @property
    def is_open(self) -> bool:
        """Whether a segment is being written."""
        return self._descriptor >= 0

    def acquire(self) -> None:
        """Create the folder and take its lock; raises `JournalLocked` while another process holds it."""
        durable.make_directory(self.folder)
        self._lock = durable.own(self.folder, "writes this journal", JournalLocked)

    def release(self) -> None:
        """Close the open segment and let the folder go."""
        self.abandon()
        lock, self._lock = self._lock, -1
        if lock >= 0:
            durable.close(lock)

    def abandon(self) -> None:
        """Close the open segment without a word about what it holds: `settle` will look."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            durable.close(descriptor)

    def settle(self) -> Settled:
        """Seal what an earlier run or a failure left behind; raises OSError."""
        self.abandon()
        for leftover in self.folder.glob("*.opening"):
            leftover.unlink()
        unsealed = {each.path for each in segments(self.folder) if not each.sealed}
        for path in sorted(self.folder.glob("*.active")):
            if path in unsealed:
                self._settle_segment(path)
            path.unlink()
        durable.sync_directory(self.folder)
        last = self._last_of_sealed()
        return Settled(last, self._untold(last))

    def _settle_segment(self, path: Path) -> None:
        data = path.read_bytes()
        keep, _ = valid_prefix(self.writer, data)
        if keep < len(data):
            durable.replace(path.with_suffix(".torn"), data[keep:], 0o400)
        if keep:
            durable.replace(path.with_suffix(".jsonl"), data[:keep], 0o400)

    def _untold(self, last: Link | None) -> Torn | None:
        """Return the tail set aside that no record tells of: each epoch's first record tells of those before it."""
        epoch = last.epoch if last else 0
        names = sorted(path.name for path in self.folder.glob("*.torn"))
        untold = [name for name in names if (match := _TORN.fullmatch(name)) and int(match[1]) >= epoch]
        return Torn(untold[-1], (self.folder / untold[-1]).stat().st_size) if untold else None

    def _last_of_sealed(self) -> Link | None:
        for segment in reversed(segments(self.folder)):
            last = stored.last_of(segment)
            if last is not None:
                return last
        return None

    def begin(self, epoch: int, line: bytes, now: float) -> None:
        """Open a new epoch whose first record is `line`; it is durable when this returns."""
        opening = self.folder / name_of(epoch, 1, "opening")
        opening.unlink(missing_ok=True)
        descriptor = durable.create(opening)
        try:
            durable.write_all(descriptor, line)
            os.fdatasync(descriptor)
            self._path = opening.with_suffix(".active")
            opening.rename(self._path)
            durable.sync_directory(self.folder)
        except OSError:
            durable.close(descriptor)
            raise
        self._descriptor, self._key, self.size, self.opened_at = descriptor, (epoch, 1), len(line), now
        self._folder_dirty = False

    def write(self, data: bytes, epoch: int, first_seq: int, now: float) -> None:
        """Append whole lines, the first of which is `first_seq`; opens the next segment where none is open."""
        if self._descriptor < 0:
            self._path = self.folder / name_of(epoch, first_seq, "active")
            self._descriptor = durable.create(self._path)
            self._key, self.size, self.opened_at, self._folder_dirty = (epoch, first_seq), 0, now, True
        durable.write_all(self._descriptor, data)
        self.size += len(data)

    def sync(self) -> None:
        """Make all that was written durable."""
        os.fdatasync(self._descriptor)
        if self._folder_dirty:
            durable.sync_directory(self.folder)
            self._folder_dirty = False

    def seal(self, last: Link) -> Sealed:
        """Make the open segment immutable; everything in it has been synced."""
        os.fchmod(self._descriptor, 0o400)
        sealed = self._path.with_suffix(".jsonl")
        self._path.rename(sealed)
        durable.sync_directory(self.folder)
        self.abandon()
        return Sealed(Segment(sealed, self._key[0], self._key[1], sealed=True), self.size, last)

    def remove(self, names: list[str]) -> None:
        """Delete sealed segments, in any form, whose removal is on record; one that is gone already is no fault."""
        for name in names:
            for form in SEALED:  # the auditor may have compressed it, or be about to
                (self.folder / f"{name.partition('.')[0]}.{form}").unlink(missing_ok=True)
        durable.sync_directory(self.folder)


def valid_prefix(writer: str, data: bytes) -> tuple[int, Link | None]:
    """Return how many bytes of a segment are whole, chained records, and the last of them."""
    chain: Chain | None = None
    keep = 0
    try:
        for line in whole_lines(data):
            if chain is None:
                chain = Chain(writer, claimed(writer, line))
            chain.accept(line)
            keep += len(line)
    except LineFault:
        pass  # the caller sets aside what does not continue the chain, and reports it
    return keep, chain.link if chain is not None and keep else None
