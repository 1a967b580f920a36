"""The journal of one process: every record is kept before anything that depends on it happens.

The loop's thread encodes (`append`), chains and queues; the writer's thread makes every file call. What one iteration
of the loop appended is one batch, chained in one go; the thread takes all batches that queued up while it was writing
or syncing.

When a record counts as kept (design P2):

* `written`: write() returned. It survives the death of any process; a power failure may take what followed the last
  completed fdatasync, begun at most 10 ms after the last one ended. A record that nobody waits for (completions)
  goes with the next one that somebody waits for, at most 4 ms later.
* `synced`: fdatasync returned after that write, and the folder was synced if the segment is new.

Any error, and any batch older than the stall limit, makes the journal unhealthy at once: every waiter gets
`JournalUnhealthy`, every later `append` raises it, and whatever the stuck call still achieves is never reported as
kept. The thread then opens a new epoch in a new file; its first record is `audit.gap` with what was refused. Only when
that record is durable is the journal healthy again. The code that recovers is the code that starts.

A journal with a reserve (`audit.room`) refuses before the disk does: below the first floor it takes only records that
are `essential` (they end what is under way, or room was left for them), below the last none; `audit.gap` says how many
were refused, as soon as there is room again. Nothing failed then, so the epoch goes on. The thread looks at the disk by
its own timer: a record costs nothing more.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any, Final

import orjson

from audit.event import Action, event, text
from audit.journal_thread import Batch, Done, Failure, WriterThread
from audit.room import Level, Reserve, Room, Watch
from audit.segment import GENESIS, LINE_LIMIT, SALT, WRITER_NAME, Link, Unchained, encode_all, head
from audit.segment_writer import Sealed, SegmentWriter

_START_LIMIT: Final = 60.0  # seconds that settling a folder may take at start
_EMPTY: Final = len(b"{}")
_LONGEST: Final = LINE_LIMIT - 512  # bytes of an event, leaving room for the members that every line has
_PATIENCE: Final = 0.004  # seconds that a record nobody waits for may stay with the loop, to be written with others


class JournalUnhealthy(Exception):
    """The record is not kept, and nothing that depends on it may happen."""


@dataclass(slots=True)
class _Short:
    """A time without enough room, for the gap record."""

    reason: str
    at: float  # monotonic seconds
    refused: int = 0


class Journal:
    """Keeps the records of one writer under `directory/<writer>/`. All methods belong to the loop's thread."""

    def __init__(
        self,
        directory: Path,
        writer: str,
        *,
        segment_bytes: int,
        segment_age: float,
        stall_limit: float = 1.0,
        clock: Callable[[], float] = time.time,
        reserve: Reserve | None = None,
    ) -> None:
        """Prepare, touching nothing.

        `segment_bytes` and `segment_age` (seconds) bound a segment; `stall_limit` (seconds) bounds how long a record
        may wait for the disk; `clock` gives the time of the journal's own records; `reserve` is what the disk keeps
        free of them, None = whatever it takes.
        """
        if not WRITER_NAME.fullmatch(writer):
            raise ValueError(f"writer: got {writer!r}, expected {WRITER_NAME.pattern}")
        self.writer = writer
        self._files = SegmentWriter(directory / writer, writer)
        self._room = None if reserve is None else Watch(directory / writer, reserve)
        self._segment_bytes = segment_bytes
        self._segment_age = segment_age
        self._stall_limit = stall_limit
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: WriterThread | None = None
        # the chain's end, as the loop sees it
        self._head, self._epoch, self._seq, self._prev = b"", 0, 0, GENESIS.hex().encode()
        # what was appended since the last submit
        self._records: list[Unchained] = []
        self._on_written: list[Done] = []
        self._on_synced: list[Done] = []
        self._scheduled = self._late = False
        self._outstanding: deque[Batch] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._acknowledged = 0
        self._fault = "not opened"
        self._failure: Failure | None = None
        self._level = Level.AMPLE
        self._short: _Short | None = None

    @property
    def healthy(self) -> bool:
        """Whether a record appended now can be kept."""
        return not self._fault

    @property
    def fault(self) -> str:
        """Why the journal is unhealthy; empty while it is healthy."""
        return self._fault

    @property
    def sparing(self) -> bool:
        """Whether only essential records are kept, because the disk fills."""
        return self._level is Level.SPARING and self._failure is None and self._thread is not None

    @property
    def epoch(self) -> int:
        """The epoch being written."""
        return self._epoch

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Settle the folder, open a new epoch and start the writer's thread.

        Blocks until the epoch's first record is durable. Raises `JournalUnhealthy` when that cannot be: another process
        holds the folder, or the disk refuses.
        """
        self._loop = loop
        self._thread = WriterThread(
            self._files, segment_bytes=self._segment_bytes, segment_age=self._segment_age, clock=self._clock,
            call=loop.call_soon_threadsafe, listener=self, watch=self._room,
        )  # fmt: skip
        try:
            end = self._thread.start(_START_LIMIT)
        except Empty:
            raise JournalUnhealthy(f"{self.writer}: the folder was not settled within {_START_LIMIT:.0f} s") from None
        except OSError as error:
            raise JournalUnhealthy(f"{self.writer}: {error}") from error
        self._continue(end)
        self._fault = ""

    def append(self, event: dict[str, Any], synced: bool, done: Done | None, essential: bool = False) -> int:
        """Add a record and return its number in this epoch; `done` is called in the loop once it is kept.

        `essential`: room was left for it, see above.

        Raises `JournalUnhealthy` when no record can be kept, TypeError when the event is no JSON, ValueError when it
        is empty or longer than a line may be. After a raise nothing was added and `done` is never called.
        """
        if self._fault and not (essential and self.sparing):
            raise self._refused()
        try:
            payload = orjson.dumps(event)
        except TypeError:
            payload = orjson.dumps(_mended(event))
        return self.append_encoded(payload, synced, done, b"", essential)

    def append_encoded(
        self, payload: bytes, synced: bool, done: Done | None, members: bytes = b"", essential: bool = False
    ) -> int:
        """Add a record that is JSON already: `payload` is one object as `orjson` writes it. Else like `append`.

        `members` are further ones of that object, each with a comma behind it: what many records have in common.
        """
        if self._fault and not (essential and self.sparing):
            raise self._refused()
        if not _EMPTY < len(payload) <= _LONGEST - len(members):
            size = len(members) + len(payload)
            raise ValueError(f"a record of {size} bytes: expected {_EMPTY + 1} to {_LONGEST}")
        seq = self._seq = self._seq + 1
        self._records.append((members, payload))
        if done is not None:
            (self._on_synced if synced else self._on_written).append(done)
        elif synced:
            self._on_synced.append(_nobody)
        if not self._scheduled and (synced or done is not None or not self._late):
            self._submit_soon(waited=synced or done is not None)
        return seq

    def _refused(self) -> JournalUnhealthy:
        if self._failure is not None:
            self._failure.refused += 1
        elif self._short is not None:
            self._short.refused += 1
        return JournalUnhealthy(self._fault)

    async def record(self, event: dict[str, Any], synced: bool = True, essential: bool = False) -> int:
        """Add a record and wait until it is kept; returns its number, raises like `append`."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if kept.done():
                return  # whoever waited was cancelled; the record stands
            if error is None:
                kept.set_result(None)
            else:
                kept.set_exception(error)

        seq = self.append(event, synced, done, essential)
        await kept
        return seq

    def close(self, timeout: float) -> None:
        """Keep what was appended, seal the segment, stop the thread; waits at most `timeout` seconds."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._submit_to(thread)
        self._fault = self._fault or "closed"
        thread.stop(timeout)
        if self._watch is not None:
            self._watch.cancel()
        error = JournalUnhealthy("closed before the record was kept")
        for batch in self._outstanding:
            batch.dropped = not batch.kept
            self._tell(batch.on_written + batch.on_synced, None if batch.kept else error)
            batch.on_written, batch.on_synced = [], []
        self._outstanding.clear()

    def _submit_soon(self, *, waited: bool) -> None:
        """See to it that all is submitted; a record that nobody waits for does not wake the thread by itself."""
        assert self._loop is not None  # noqa: S101 (a journal without a loop is not healthy)
        if waited:
            self._scheduled = True
            self._loop.call_soon(self._submit)
        else:
            self._late = True
            self._loop.call_later(_PATIENCE, self._submit_late)

    def _submit_late(self) -> None:
        self._late = False
        self._submit()

    def _submit(self) -> None:
        if self._thread is not None:
            self._submit_to(self._thread)

    def _submit_to(self, thread: WriterThread) -> None:
        self._scheduled = False
        records = self._records
        if not records:
            return
        assert self._loop is not None  # noqa: S101 (without a loop nothing was appended)
        outstanding = self._outstanding
        while outstanding and outstanding[0].kept:
            outstanding.popleft()
        first = self._seq - len(records) + 1
        salts = os.urandom(SALT * len(records))  # at once: a system call each would cost more than the hash
        lines, self._prev = encode_all(self._head, first, self._prev, salts, records)
        batch = Batch(
            lines, Link(self._epoch, self._seq, bytes.fromhex(self._prev.decode())), first, self._loop.time(),
            self._on_written, self._on_synced, bool(self._on_written), bool(self._on_synced),
        )  # fmt: skip
        self._records, self._on_written, self._on_synced = [], [], []
        outstanding.append(batch)
        thread.submit(batch)
        if self._watch is None:
            self._watch = self._loop.call_later(self._stall_limit / 4, self._check_stall)

    def _check_stall(self) -> None:
        watch, self._watch = self._watch, None
        outstanding = self._outstanding
        while outstanding and outstanding[0].kept:
            outstanding.popleft()
        if not outstanding or self._loop is None:
            return
        now = self._loop.time()
        # What this look is late by is not the disk's fault: a machine that was paused ran neither us nor the writer.
        late = 0.0 if watch is None else max(0.0, now - watch.when())
        age = now - outstanding[0].since - late
        if age > self._stall_limit:
            self.failed(f"the disk kept a record waiting for {age:.2f} s")
        else:
            self._watch = self._loop.call_later(self._stall_limit / 4, self._check_stall)

    def _tell(self, waiters: list[Done], error: BaseException | None) -> None:
        for done in waiters:
            try:
                done(error)
            except Exception as fault:  # noqa: BLE001 (one waiter's fault must not keep the news from the others)
                assert self._loop is not None  # noqa: S101 (waiters come from a loop)
                self._loop.call_exception_handler({"message": "a journal waiter failed", "exception": fault})

    def _continue(self, end: Link) -> None:
        self._head = head(self.writer, end.epoch)
        self._epoch, self._seq, self._prev = end.epoch, end.seq, end.entry.hex().encode()

    # --- what the thread reports (`journal_thread.Listener`), in the loop

    def released(self, batches: list[Batch], synced: bool) -> None:
        """Tell the waiters of batches whose write, or sync, has returned."""
        for batch in batches:
            if batch.dropped:
                continue
            self._acknowledged = batch.end.seq
            if synced:
                waiters, batch.on_synced = batch.on_synced, []
            else:
                waiters, batch.on_written = batch.on_written, []
            self._tell(waiters, None)

    def failed(self, reason: str) -> None:
        """Become unhealthy: whoever waits is told, and nothing submitted so far will be reported as kept."""
        if self._failure is not None or self._thread is None:
            return
        self._submit()  # what was appended in this very iteration fails with the rest
        self._fault = reason
        lost = [batch for batch in self._outstanding if not batch.kept]
        waiters = [done for batch in lost for done in batch.on_written + batch.on_synced]
        self._failure = Failure(
            reason, time.monotonic(), self._epoch, lost[0].first_seq if waiters else 0, self._seq if waiters else 0,
            len(waiters), self._acknowledged,
        )  # fmt: skip
        for batch in lost:
            batch.on_written, batch.on_synced, batch.dropped = [], [], True
        self._outstanding.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._thread.give_up(self._failure)
        self._tell(waiters, JournalUnhealthy(reason))

    def recovered(self, end: Link, failure: Failure, reported: int) -> None:
        """Go on after the gap record; what was refused since it was counted gets a record of its own."""
        if self._thread is None:
            return
        self._continue(end)
        self._fault, self._failure, self._acknowledged = "", None, 0
        if failure.refused > reported:
            late = {"sekisho.gap.reason": failure.reason, "sekisho.gap.refused": failure.refused - reported}
            self.append(event(Action.AUDIT_GAP, self._clock(), late), True, None)
        self._mind_room()

    def sealed(self, segment: Sealed) -> None:
        """A segment was sealed; a bounded journal counts them."""

    def room_changed(self, level: Level, room: Room) -> None:
        """Take less, or everything again, from now on."""
        self._level = level
        if level is not Level.AMPLE and self._short is None:
            reason = f"disk reserve: {room.free} of {room.total} bytes and {room.free_nodes} files are free"
            self._short = _Short(reason, time.monotonic())
        if self._failure is None and self._thread is not None:
            self._mind_room()

    def _mind_room(self) -> None:
        """Be short of room, or be done with that: then what was refused meanwhile is recorded."""
        short = self._short
        if short is None:
            return
        if self._level is not Level.AMPLE:
            self._fault = short.reason
            return
        self._fault, self._short = "", None
        if short.refused:
            gap = {
                "sekisho.gap.reason": short.reason, "sekisho.gap.refused": short.refused, "sekisho.gap.failed": 0,
                "sekisho.gap.seconds": round(time.monotonic() - short.at, 3),
            }  # fmt: skip
            self.append(event(Action.AUDIT_GAP, self._clock(), gap), True, None)


def _nobody(_error: BaseException | None) -> None:
    """Wait for a sync on nobody's behalf: the record asked to be synced."""


def _mended(value: Any) -> Any:
    """Return an event with lone surrogates escaped (`audit.event.text`), so that it can be kept at all."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(inner) for inner in value]
    return value
