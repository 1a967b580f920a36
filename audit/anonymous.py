"""What strangers can make us write is bounded: the journal of anonymous refusals.

`Coalescer` keeps the first records of an address and minute in full, up to a number of all addresses', and counts the
rest: each minute one `request.coalesced` record per address, reason and outcome, with count, first and last. The
table of addresses is bounded too; addresses beyond it share one row. While the journal is sparing (the disk fills)
every request is only counted, and nearly all in the shared rows: sign-in, which begins as a stranger's, goes on.
`BoundedJournal` deletes its oldest sealed segments beyond a total size, each time after an `audit.trimmed` record
that says which record was the last to go; `audit.verify` accepts exactly that.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from audit import stored
from audit.event import Action, event, timestamp
from audit.journal import Journal
from audit.journal_thread import Done
from audit.room import Reserve
from audit.segment import TRIMMED, record_of, segments
from audit.segment_writer import Sealed

BOUNDED: Final = ".anonymous"  # how the names of such writers end
_MINUTE: Final = 60.0
_ADDRESSES: Final = 10_000  # rows of the table; about 2 MiB
_TOTAL: Final = 6000  # full records a minute of all addresses: else many addresses fill the index
_FEW: Final = 16  # rows of the table while room is spared
_OTHERS: Final = ""  # the row of addresses beyond the table


@dataclass(slots=True)
class _Row:
    """What one address did in this minute for one reason."""

    count: int
    first: float
    last: float


class Coalescer:
    """A budget of full records per address and minute in front of a journal. The moment is passed in."""

    def __init__(self, journal: Journal, budget: int, addresses: int = _ADDRESSES, total: int = _TOTAL) -> None:
        """`budget` full records per address and minute, `total` of all; `addresses` is the size of the table."""
        self._journal = journal
        self._budget = budget
        self._total = max(total, budget)
        self._full = 0  # of this minute
        self._addresses = addresses
        self._minute = -1
        self._spent: dict[str, int] = {}
        self._rows: dict[tuple[str, str, str], _Row] = {}

    def append(self, record: dict[str, Any], address: str, reason: str, wall: float, done: Done | None) -> int | None:
        """Keep or count one request of a stranger; returns its number, None when it was only counted.

        `done` is called in the loop once the record is kept (written); at once when it was counted. Raises
        `JournalUnhealthy`: then the refusal stands and is counted in the gap.
        """
        minute = int(wall // _MINUTE)
        if minute != self._minute:
            self.flush(wall)
            self._minute = minute
        budget, addresses = (0, _FEW) if self._journal.sparing else (self._budget, self._addresses)
        spent = self._spent.get(address)
        if spent is None and len(self._spent) >= addresses:
            address, spent = _OTHERS, budget
        spent = spent or 0
        if spent < budget and self._full < self._total:
            self._spent[address] = spent + 1
            self._full += 1
            return self._journal.append(record, False, done)
        if address != _OTHERS:
            self._spent.setdefault(address, 0)
        key = address, reason, str(record.get("event.outcome", "failure"))
        row = self._rows.get(key)
        if row is None:
            self._rows[key] = _Row(1, wall, wall)
        else:
            row.count += 1
            row.last = wall
        if done is not None:
            done(None)
        return None

    def flush(self, wall: float) -> int:
        """Record the counts of the minute that ended and start afresh; returns how many records that made.

        Called by `append` when the minute changes, and by the owner each minute so that a quiet one is flushed too.
        Raises `JournalUnhealthy`; the counts are then kept for the next time.
        """
        made = 0
        for key in list(self._rows):
            row = self._rows[key]
            address, reason, outcome = key
            fields = {
                "source.ip": address or None,
                "sekisho.reason": reason,
                "sekisho.count": row.count,
                "sekisho.first": timestamp(row.first),
                "sekisho.last": timestamp(row.last),
                "event.outcome": outcome,
                "event.type": ("access", "denied" if outcome == "failure" else "allowed"),
            }
            self._journal.append(event(Action.REQUEST_COALESCED, wall, fields), False, None, essential=True)
            del self._rows[key]
            made += 1
        self._spent, self._full = {}, 0
        return made


def trimmed_up_to(folder: Path) -> tuple[int, int] | None:
    """Return epoch and number of the last record whose deletion a bounded writer put on record, None for others."""
    if not folder.name.endswith(BOUNDED):
        return None
    for segment in reversed(segments(folder)):
        data = stored.whole(segment) or stored.kept(segment)
        at = data.rfind(TRIMMED)
        if at >= 0:
            body = record_of(data[data.rfind(b"\n", 0, at) + 1 : data.find(b"\n", at) + 1])
            return body["sekisho.trimmed.epoch"], body["sekisho.trimmed.seq"]
    return None


class BoundedJournal(Journal):
    """A journal whose oldest sealed segments go when all of them exceed `total_bytes`. Named `*.anonymous`."""

    def __init__(
        self,
        directory: Path,
        writer: str,
        *,
        total_bytes: int,
        segment_bytes: int,
        segment_age: float,
        stall_limit: float = 1.0,
        clock: Callable[[], float] = time.time,
        reserve: Reserve | None = None,
    ) -> None:
        """Raises ValueError for a writer whose name does not end in `.anonymous`: only there a hole is accepted."""
        if not writer.endswith(BOUNDED):
            raise ValueError(f"writer: got {writer!r}, expected a name ending in .anonymous")
        super().__init__(
            directory, writer, segment_bytes=segment_bytes, segment_age=segment_age,
            stall_limit=stall_limit, clock=clock, reserve=reserve,
        )  # fmt: skip
        self._folder = directory / writer
        self._total_bytes = total_bytes
        self._sealed: deque[Sealed] = deque()
        self._removed = 0

    def sealed(self, segment: Sealed) -> None:
        """Count a sealed segment; delete the oldest beyond the bound, after saying so."""
        self._sealed.append(segment)
        self._trim_beyond()

    def _trim_beyond(self) -> None:
        if not (self.healthy or self.sparing):
            return  # the next seal, or the next start, finds the same surplus
        total = sum(item.bytes for item in self._sealed)
        going: list[Sealed] = []
        while total > self._total_bytes and len(self._sealed) > 1:
            going.append(self._sealed.popleft())
            total -= going[-1].bytes
        if going:
            self._trim(going)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open like any journal, and count the segments that are there; raises `JournalUnhealthy`."""
        super().open(loop)
        trimmed = (0, 0)  # the last record whose deletion is on record
        for segment in segments(self._folder):
            data = stored.whole(segment) or stored.kept(segment)
            last = stored.last_of(segment) if segment.sealed else None
            if last is not None:
                self._sealed.append(Sealed(segment, segment.path.stat().st_size, last))
            at = data.rfind(TRIMMED)
            if at >= 0:
                body = record_of(data[data.rfind(b"\n", 0, at) + 1 : data.find(b"\n", at) + 1])
                self._removed = body["sekisho.trimmed.records_total"]
                trimmed = body["sekisho.trimmed.epoch"], body["sekisho.trimmed.seq"]
        left = [item for item in self._sealed if (item.last.epoch, item.last.seq) <= trimmed]
        if left and self._thread is not None:  # a crash came between the record and the deletion
            self._thread.do(partial(self._files.remove, [item.segment.path.name for item in left]))
        self._sealed = deque(item for item in self._sealed if item not in left)
        self._trim_beyond()

    def _trim(self, going: list[Sealed]) -> None:
        """Record which segments go, then delete them. A crash between leaves files that `open` deletes."""
        last = going[-1].last
        before = self._removed
        total = before + sum(item.last.seq - item.segment.first_seq + 1 for item in going)
        names = [item.segment.path.name for item in going]
        fields = {
            "sekisho.trimmed.epoch": last.epoch,
            "sekisho.trimmed.seq": last.seq,
            "sekisho.trimmed.entry": last.entry.hex(),
            "sekisho.trimmed.segments": names,
            "sekisho.trimmed.bytes": sum(item.bytes for item in going),
            "sekisho.trimmed.records_total": total,
        }

        def kept(error: BaseException | None) -> None:
            if error is not None:
                self._removed -= total - before
                self._sealed.extendleft(reversed(going))
            elif self._thread is not None:
                self._thread.do(partial(self._files.remove, names))

        self._removed = total  # a second trim may come before this one is kept
        self.append(event(Action.AUDIT_TRIMMED, self._clock(), fields), True, kept, essential=True)
