"""Trails to prove, search and tamper with: real journals and a real log in a temporary folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.auditor import Auditor
from audit.checkpoint import Signer
from audit.event import Action, event
from audit.journal import Journal


@dataclass(frozen=True)
class Trail:
    """A folder of journals, the log over them and its key."""

    journals: Path
    log: Path
    signer: Signer

    def write(
        self, writer: str, events: list[dict[str, Any]], segment_bytes: int = 2500,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """Append the events in one epoch of this writer, which is opened at the time of `clock`."""

        async def run() -> None:
            journal = Journal(
                self.journals, writer, segment_bytes=segment_bytes, segment_age=3600, stall_limit=30, clock=clock
            )
            journal.open(asyncio.get_running_loop())
            for start in range(0, len(events), 4):  # a batch is never split over segments
                *others, last = events[start : start + 4]
                for each in others:
                    journal.append(each, False, None)
                await journal.record(last)
            journal.close(5)

        asyncio.run(run())

    def sign(self) -> int:
        """Let the auditor take in everything and sign; returns the log's size."""
        auditor = Auditor(self.journals, self.log, self.signer)
        try:
            while auditor.poll():
                continue
            auditor.commit()
            assert not auditor.refused
            return auditor.size
        finally:
            auditor.close()


def decision(number: int, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a decision record."""
    return event(
        Action.REQUEST_DECIDED,
        1_700_000_000.0 + number,
        {"http.request.id": f"R{number:015d}", "user.name": "sato", "sekisho.reason": "allowed", **(fields or {})},
    )
