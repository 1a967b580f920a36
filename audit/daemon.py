"""The auditor's process: `python -m audit.daemon --journal DIR --log DIR --key FILE [--state DIR …]`.

Follows every journal under DIR, its own included, and signs a checkpoint at the latest `--interval` seconds, or
`--records` records, after the first record that none covers. Keeping (`--retain`; a class that is not named is kept for
ever), detection, index, shipping and witnesses are tasks beside the signing (`audit.beside`); whatever they meet,
checkpoints go on. All at low CPU weight (nice 10). Ready (one byte
over SEKISHO_READY_FD) once the log is loaded and its own journal is open. SIGTERM: sign what is there and end.

Exit codes: 0 ended as asked, 1 the log contradicts itself or the disk refuses (said on stderr), 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from audit.auditor import Auditor, LogForked
from audit.beside import add_arguments, start_beside
from audit.busy import Busy
from audit.checkpoint import CheckpointInvalid
from audit.event import Action, event
from audit.issued import IssuedLog
from audit.journal import Journal, JournalUnhealthy
from audit.log import LogDamaged
from audit.room import Floor, Reserve
from audit.rotating import Rotating, settle
from audit.segment import Link
from audit.weight import lighten

WRITER: Final = "auditor"
_IDLE: Final = 0.1  # seconds between looks, unless more is there
_AHEAD: Final = 8 << 20  # bytes of lines that those who read the same may still have before them; then it waits
_PATIENCE: Final = 1.0  # seconds that it waits so, in all, until it has caught up with the journals itself
_PAUSE: Final = 0.02
_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_SEGMENT_AGE: Final = 86_400.0
_CLOSE: Final = 5.0  # seconds
_GC_THRESHOLDS: Final = (50_000, 20, 50)  # records make no cycles, and those that wait are many: collect seldom


class Daemon:
    """Runs one auditor beside its own journal."""

    def __init__(self, auditor: Auditor, journal: Journal, interval: float, records: int) -> None:
        """`interval` seconds and `records` bound what no checkpoint covers."""
        self.signed: list[Callable[[str], None]] = []  # who is told the text of each checkpoint, again once cosigned
        self.auditor = auditor
        self.journal = journal
        self._issued = IssuedLog(auditor.folder)
        self.followers: list[Callable[[], Mapping[str, Link] | None]] = []
        """How far each of those got who take the auditor's own `Recent`: they would else read and prove all again."""
        self.rotating: Rotating | None = None
        self._lines: list[tuple[str, str]] = []
        self._interval = interval
        self._records = records
        self._busy: Busy | None = Busy()  # None = it hashes as fast as it can
        self._told: set[str] = set()
        self._uncovered_since: float | None = None
        self._patience = _PATIENCE
        self._hurrying: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Follow and sign until `stop`; raises `LogForked`, OSError."""
        while not stop.is_set():
            await self._step(time.monotonic())
            if not self.auditor.more:
                await _sleep(stop, _IDLE)
            await self._let_follow(stop)
        self.journal.close(_CLOSE)
        while await asyncio.to_thread(self.auditor.poll):
            pass
        await self.commit()

    async def _let_follow(self, stop: asyncio.Event) -> None:
        """Give those who follow a moment to take what is remembered for them, if that has become much.

        Never for long: while the journals hold more than was taken in, what no checkpoint covers grows.
        """
        if not self.auditor.more:
            self._patience = _PATIENCE
        while not stop.is_set() and self._patience > 0:
            places = [links for each in self.followers if (links := each()) is not None]
            if all(self.auditor.recent.unread(links) <= _AHEAD for links in places):
                return
            begun = time.monotonic()
            await _sleep(stop, _PAUSE)
            self._patience -= time.monotonic() - begun

    def cosigned(self, note: str, line: str) -> None:
        """Take a cosignature of a checkpoint; it is published between two looks at the journals."""
        self._lines.append((note, line))

    async def _attach(self) -> None:
        while self._lines:
            self._tell(await asyncio.to_thread(self.auditor.attach, *self._lines.pop(0)))

    async def commit(self) -> None:
        """Sign what was taken in and tell of it."""
        if await asyncio.to_thread(self.auditor.commit) is not None:
            note = await asyncio.to_thread((self.auditor.folder / "checkpoint").read_text)
            await asyncio.to_thread(self._issued.keep, note, time.time())
            self._tell(note)

    def _tell(self, note: str) -> None:
        for listener in self.signed:
            listener(note)

    async def _step(self, now: float) -> None:
        auditor = self.auditor
        taken = await asyncio.to_thread(auditor.poll)
        if self._busy is not None and self._busy.saw(taken, now):
            self._busy = None
            self._hurrying = asyncio.create_task(asyncio.to_thread(auditor.hurry))  # signing goes on meanwhile
        if taken and self._uncovered_since is None:
            self._uncovered_since = now
        if self._due(now):
            await self.commit()
            self._uncovered_since = None
        await self._attach()
        if self.rotating is not None and (note := await self.rotating.step()) is not None:
            self._tell(note)
        await self._tell_refusals()

    def _due(self, now: float) -> bool:
        if self._uncovered_since is None:
            return False
        return self.auditor.pending >= self._records or now - self._uncovered_since >= self._interval

    async def _tell_refusals(self) -> None:
        for writer, error in self.auditor.refused.items():
            if writer not in self._told:
                self._told.add(writer)
                _say(error)
                await self.record(Action.AUDIT_REFUSED, {
                    "sekisho.log.writer": writer, "error.message": str(error), "event.outcome": "failure",
                })  # fmt: skip

    async def record(self, action: Action, fields: dict[str, Any]) -> None:
        """Record an act of the auditor; the log goes on while its own journal cannot be written: its gap tells."""
        try:
            await self.journal.record(event(action, time.time(), fields))
        except JournalUnhealthy as error:
            _say(error)


def _say(error: Exception) -> None:
    sys.stderr.write(f"auditor: {error}\n")
    sys.stderr.flush()


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _ready() -> None:
    number = os.environ.pop("SEKISHO_READY_FD", None)
    if number is not None:
        os.write(int(number), b"R")
        os.close(int(number))


async def _serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    signer = settle(options.key, options.log)
    auditor = await asyncio.to_thread(Auditor, options.journal, options.log, signer)
    floor = Floor(options.reserve_percent / 100, options.reserve_bytes)
    journal = Journal(
        options.journal, WRITER, segment_bytes=_SEGMENT_BYTES, segment_age=_SEGMENT_AGE, reserve=Reserve(floor, floor)
    )
    beside: list[asyncio.Task[None]] = []
    try:
        journal.open(loop)
        root = auditor.signed.root.hex() if auditor.signed else None
        started = {"sekisho.log.size": auditor.size, "sekisho.log.root": root, "process.pid": os.getpid()}
        daemon = Daemon(auditor, journal, options.interval, options.records)
        await daemon.record(Action.AUDIT_STARTED, started)
        if (replaced := auditor.replaced) is not None:
            await daemon.record(Action.AUDIT_KEY_REPLACED, replaced)
        start_beside(options, daemon, beside)
        if options.state is not None:
            daemon.rotating = Rotating(auditor, journal, options.key, options.state, daemon.commit)
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        _ready()
        await daemon.run(stop)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        journal.close(_CLOSE)
        auditor.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m audit.daemon", description="Grow and sign the transparency log.")
    parser.add_argument("--journal", type=Path, required=True, help="folder of all writers' journals")
    parser.add_argument("--log", type=Path, required=True, help="folder of the log")
    parser.add_argument("--key", type=Path, required=True, help="signing key in note format, mode 0600")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds a record may stay uncovered (5)")
    parser.add_argument("--records", type=int, default=1000, help="records that may stay uncovered (1000)")
    add_arguments(parser)
    parser.add_argument("--reserve-percent", type=float, default=1.0, help="of the disk its journal leaves free (1)")
    parser.add_argument("--reserve-bytes", type=int, default=2**30, help="that this is at most (1 GiB)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the auditor; returns the exit code."""
    options = _parser().parse_args(arguments)
    lighten()
    try:
        asyncio.run(_serve(options))
    except (LogForked, LogDamaged, CheckpointInvalid, JournalUnhealthy, ValueError, OSError) as error:
        _say(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
