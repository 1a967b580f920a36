"""The thread that makes every file call of a journal: joins batches, writes, syncs, seals, recovers.

It shares with the loop: a queue of batches (loop → thread), three calls into the loop (`Listener`), and the one
`Failure` that the loop sets when it gives the running epoch up. Nothing that the thread achieves after that is
reported: it notices the failure at its next step and recovers.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

import orjson

from audit.event import Action, event
from audit.room import Level, Room, Watch
from audit.segment import GENESIS, Link, encode, head
from audit.segment_writer import Sealed, SegmentWriter, Settled

Done = Callable[[BaseException | None], None]
"""Called in the loop, once: with None when the record is kept, else with the `JournalUnhealthy` that says why not."""

SYNC_INTERVAL: Final = 0.010  # seconds from a completed fdatasync to the next where nobody waits for it
_RETRY: Final = (0.05, 2.0)  # seconds between attempts to recover: first, largest


@dataclass(slots=True)
class Batch:
    """What one iteration of the loop appended. The thread sets `kept`; everything else is the loop's."""

    data: bytes
    end: Link  # of its last record
    first_seq: int
    since: float  # loop time
    on_written: list[Done]
    on_synced: list[Done]
    wants_written: bool
    wants_synced: bool
    kept: bool = False  # synced
    dropped: bool = False  # its waiters were told that it failed


@dataclass(slots=True)
class Failure:
    """Why an epoch was given up, for the gap record."""

    reason: str
    at: float  # monotonic seconds
    epoch: int
    first: int  # lowest number that may be in the journal although its act was refused, 0 = none
    last: int
    failed: int  # waiters that were told so
    acknowledged: int  # highest number reported as written
    refused: int = 0  # records refused since; the loop counts on
    told: threading.Event = field(default_factory=threading.Event)


class Listener(Protocol):
    """What the loop's side hears, always in the loop."""

    def released(self, batches: list[Batch], synced: bool) -> None:
        """The batches' write (or sync) has returned."""

    def failed(self, reason: str) -> None:
        """A file call failed; the listener answers by `WriterThread.give_up`."""

    def recovered(self, end: Link, failure: Failure, reported: int) -> None:
        """The gap record at `end` is durable and told of `reported` refused records."""

    def sealed(self, segment: Sealed) -> None:
        """A segment will not change any more."""

    def room_changed(self, level: Level, room: Room) -> None:
        """The file system passed a floor of the journal's reserve, down or up."""


class _Stop(Exception):
    """The journal is being closed."""


class _GivenUp(Exception):
    """The loop has declared the running epoch failed."""


class WriterThread:
    """One writer's thread. `start` and `give_up`, `submit`, `do`, `stop` belong to the loop, all else to the thread."""

    def __init__(
        self,
        files: SegmentWriter,
        *,
        segment_bytes: int,
        segment_age: float,
        clock: Callable[[], float],
        call: Callable[..., object],
        listener: Listener,
        watch: Watch | None,
    ) -> None:
        """`call(function, *arguments)` runs a function in the loop, from this thread; `watch` looks at the disk."""
        self._files = files
        self._segment_bytes = segment_bytes
        self._segment_age = segment_age
        self._clock = clock
        self._call_loop = call
        self._listener = listener
        self._watch = watch
        self._queue: SimpleQueue[Batch | Callable[[], None] | None] = SimpleQueue()
        self._opened: SimpleQueue[Link | Exception] = SimpleQueue()
        self._stopping = threading.Event()
        self._failure: Failure | None = None
        self._handled: Failure | None = None  # the last failure that was recovered from
        self._end = Link(0, 0, GENESIS)
        self._thread = threading.Thread(target=self._run, name=f"journal {files.writer}", daemon=True)

    def start(self, limit: float) -> Link:
        """Start, and wait for the new epoch's first record to be durable; raises what the disk says, or Empty."""
        self._thread.start()
        opened = self._opened.get(timeout=limit)
        if isinstance(opened, Exception):
            raise opened
        return opened

    def submit(self, batch: Batch) -> None:
        """Queue a batch."""
        self._queue.put(batch)

    def do(self, work: Callable[[], None]) -> None:
        """Run `work`, a file call, in the thread, after what is queued."""
        self._queue.put(work)

    def give_up(self, failure: Failure) -> None:
        """Stop trusting the running epoch: all batches submitted so far were dropped by the loop."""
        self._failure = failure
        failure.told.set()

    def stop(self, timeout: float) -> None:
        """Write what is queued, seal, end; waits at most `timeout` seconds."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(timeout)

    # --- the thread

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._call_loop(function, *arguments)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            self._stopping.set()

    def _run(self) -> None:
        try:
            self._files.acquire()
            self._end = self._begin(self._files.settle(), None, 0)
        except Exception as error:  # noqa: BLE001 (`start` raises it)
            self._files.release()
            self._opened.put(error)
            return
        self._opened.put(self._end)
        try:
            while True:
                try:
                    self._work()
                except _Stop:
                    raise
                except Exception as error:  # noqa: BLE001 (whatever it is: unhealthy, recorded as the gap's reason)
                    self._recover(error)
        except _Stop:
            self._files.release()

    def _work(self) -> None:
        """Write and sync batches until something fails (raises) or the journal is closed (`_Stop`)."""
        files = self._files
        unsynced: list[Batch] = []
        synced_at = time.monotonic()
        while True:
            self._look()
            batches, stop = self._take(self._patience(bool(unsynced), synced_at))
            if batches:
                data = b"".join([batch.data for batch in batches])
                files.write(data, batches[0].end.epoch, batches[0].first_seq, time.monotonic())
                if self._watch is not None:
                    self._watch.wrote(len(data))
                self._end = batches[-1].end
                unsynced += batches
                self._report(batches, synced=False)
            if unsynced and (stop or self._sync_due(unsynced, synced_at)):
                files.sync()
                synced_at = time.monotonic()
                self._report(unsynced, synced=True)
                unsynced = []
            if not unsynced and files.is_open and (stop or self._seal_due()):
                self._call(self._listener.sealed, files.seal(self._end))
                if self._watch is not None:
                    self._watch.sealed()
            if stop:
                raise _Stop

    def _look(self) -> None:
        """Look at the disk if it is time; the loop hears of a floor that was passed."""
        watch = self._watch
        if watch is not None and (room := watch.look(time.monotonic())) is not None:
            self._call(self._listener.room_changed, watch.level, room)

    def _report(self, batches: list[Batch], *, synced: bool) -> None:
        if self._failure is not self._handled:
            raise _GivenUp
        waited = False
        for batch in batches:
            batch.kept = synced
            waited = waited or (batch.wants_synced if synced else batch.wants_written)
        if waited:
            self._call(self._listener.released, batches, synced)

    def _sync_due(self, unsynced: list[Batch], synced_at: float) -> bool:
        return time.monotonic() - synced_at >= SYNC_INTERVAL or any(batch.wants_synced for batch in unsynced)

    def _seal_due(self) -> bool:
        files = self._files
        return files.size >= self._segment_bytes or time.monotonic() - files.opened_at >= self._segment_age

    def _patience(self, unsynced: bool, synced_at: float) -> float | None:
        """Return how long (seconds) to sleep before a sync, a seal or a look is due, None = until woken."""
        now = time.monotonic()
        if unsynced:
            return max(0.0, synced_at + SYNC_INTERVAL - now)
        due = [] if self._watch is None else [self._watch.wait(now)]
        if self._files.is_open:
            due.append(max(0.0, self._files.opened_at + self._segment_age - now))
        return min(due, default=None)

    def _take(self, timeout: float | None) -> tuple[list[Batch], bool]:
        """Return everything queued, waiting up to `timeout` seconds for the first; second: whether to stop."""
        batches: list[Batch] = []
        try:
            item = self._queue.get(timeout=timeout)
            while item is not None:
                if not isinstance(item, Batch):
                    item()
                elif not item.dropped:
                    batches.append(item)
                item = self._queue.get_nowait()
        except Empty:
            return batches, False
        return batches, True

    def _recover(self, error: Exception) -> None:
        """Open a new epoch once the disk takes one again; returns when its first record is durable.

        A journal that is closed meanwhile tries once more: what was refused may stand in the file, and only the gap
        says so.
        """
        if self._failure is self._handled:
            self._call(self._listener.failed, f"writing failed: {error}")
        delay, largest = _RETRY
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(delay)
            failure = self._failure
            delay = min(largest, delay * 2)
            if failure is None or failure is self._handled or not failure.told.is_set():
                continue
            reported = failure.refused
            try:
                self._end = self._begin(self._files.settle(), failure, reported)
            except Exception as again:  # noqa: BLE001 (whatever it is: tried again, and told in the gap's reason)
                failure.reason = f"{failure.reason.partition('; then: ')[0]}; then: {again}"
                continue
            self._handled = failure
            self._call(self._listener.recovered, self._end, failure, reported)
            return
        raise _Stop

    def _begin(self, found: Settled, failure: Failure | None, refused: int) -> Link:
        """Open the next epoch; its first record is durable when this returns its place."""
        last = found.last
        fields: dict[str, Any] = {}
        if last is not None:
            fields["sekisho.journal.previous.epoch"] = last.epoch
            fields["sekisho.journal.previous.seq"] = last.seq
            fields["sekisho.journal.previous.entry"] = last.entry.hex()
        if found.torn is not None:
            fields["sekisho.journal.torn.file"] = found.torn.file
            fields["sekisho.journal.torn.bytes"] = found.torn.bytes
        if failure is not None:
            fields |= _gap_fields(failure, last, refused)
        action = Action.JOURNAL_OPENED if failure is None else Action.AUDIT_GAP
        epoch = last.epoch + 1 if last else 1
        line, entry = encode(
            head(self._files.writer, epoch), 1, (last.entry if last else GENESIS).hex().encode(), os.urandom(16),
            orjson.dumps(event(action, self._clock(), fields)),
        )  # fmt: skip
        self._files.begin(epoch, line, time.monotonic())
        return Link(epoch, 1, bytes.fromhex(entry.decode()))


def _gap_fields(failure: Failure, last: Link | None, refused: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "sekisho.gap.reason": failure.reason,
        "sekisho.gap.refused": refused,
        "sekisho.gap.failed": failure.failed,
        "sekisho.gap.seconds": round(time.monotonic() - failure.at, 3),
    }
    if failure.first:
        fields["sekisho.gap.unacknowledged.epoch"] = failure.epoch
        fields["sekisho.gap.unacknowledged.first"] = failure.first
        fields["sekisho.gap.unacknowledged.last"] = failure.last
    found = last.seq if last is not None and last.epoch == failure.epoch else 0
    if found < failure.acknowledged:
        fields["sekisho.gap.lost"] = failure.acknowledged - found
    return fields
