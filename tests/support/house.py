"""Journals, the auditor's log over them and its keeper, in one loop and under one clock: for tests of keeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from audit.auditor import Auditor
from audit.checkpoint import Signer, generate
from audit.journal import Journal
from audit.keeping.keeper import Clocks, Keeper
from audit.reader import JournalReader
from audit.retention import Retention, RetentionClass
from audit.segment import record_of, segments
from audit.verify import Verified, verify_journals
from tests.support.trails import Trail, decision

START = 1_700_000_000.0  # the time of `decision(0)`
DAY = 86_400.0


class House:
    """One installation's trail. `now` is the wall clock, `machine` the one that only runs on."""

    def __init__(self, root: Path, ages: dict[str, float] | None = None, signer: Signer | None = None) -> None:
        self.trail = Trail(root / "journal", root / "log", signer or generate("log.example"))
        self.retention = Retention({RetentionClass(name): age for name, age in (ages or {}).items()})
        self.now = self.machine = START
        self.compress_after = 0.0

    def filled(self, writer: str = "worker-0", records: int = 60, first: int = 0) -> None:
        """Write an epoch of this writer in several segments; its records are a second apart."""
        self.trail.write(writer, [decision(first + at) for at in range(records)], 6000, lambda: START + first)

    def keep(self, looks: int = 8, each: Callable[[], Any] | None = None) -> None:
        """Let the auditor sign and the keeper look so often; `each` is called before every look."""

        async def run(auditor: Auditor, keeper: Keeper) -> None:
            for _ in range(looks):
                while auditor.poll():
                    continue
                auditor.commit()
                if each is not None:
                    each()
                await keeper.look()

        self.with_keeper(run)

    def with_keeper(self, run: Callable[[Auditor, Keeper], Coroutine[Any, Any, None]]) -> None:
        """Start auditor and keeper as a process would, run, stop them."""

        async def main() -> None:
            journal = Journal(
                self.trail.journals,
                "auditor",
                segment_bytes=3000,
                segment_age=3600,
                stall_limit=30,
                clock=lambda: self.now,
            )
            auditor = Auditor(self.trail.journals, self.trail.log, self.trail.signer)
            journal.open(asyncio.get_running_loop())
            clocks = Clocks(lambda: self.now, lambda: self.machine)
            keeper = Keeper(
                self.trail.journals, journal, lambda: auditor.covered, self.retention, self.compress_after, clocks
            )
            try:
                await run(auditor, keeper)
            finally:
                journal.close(5)
                auditor.close()

        asyncio.run(main())

    def forms(self, writer: str = "worker-0") -> list[str]:
        """The form of each segment of a writer."""
        return [segment.form for segment in segments(self.trail.journals / writer)]

    def lines(self, writer: str = "worker-0") -> list[bytes]:
        """What a reader of records gets."""
        reader = JournalReader(self.trail.journals, writer)
        found: list[bytes] = []
        while records := reader.read():
            found += [record.line for record in records]
        return found

    def entries(self, writer: str = "worker-0") -> list[bytes]:
        """The entries of the whole chain, with those of expired records."""
        reader = JournalReader(self.trail.journals, writer, expired=True)
        found: list[bytes] = []
        while records := reader.read():
            found += [record.entry for record in records]
        return found

    def told(self, action: str) -> list[dict[str, Any]]:
        """The auditor's records of this act."""
        return [body for line in self.lines("auditor") if (body := record_of(line))["event.action"] == action]

    def verify(self) -> Verified:
        """Prove everything; raises what `verify_journals` raises."""
        return verify_journals(self.trail.journals, self.trail.log, self.trail.signer.verifier)
