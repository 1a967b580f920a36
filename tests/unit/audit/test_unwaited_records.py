"""Records that nobody waits for: handed over without a wake each, but never left lying."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from audit.event import Action, event
from audit.journal import Journal
from audit.journal_thread import Batch, WriterThread


def test_they_are_written_soon_and_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[Batch] = []
    submit = WriterThread.submit

    def noted(thread: WriterThread, batch: Batch) -> None:
        batches.append(batch)
        submit(thread, batch)
        handed_over.set()

    monkeypatch.setattr(WriterThread, "submit", noted)
    handed_over = asyncio.Event()

    async def main() -> None:
        journal = Journal(tmp_path, "worker-0", segment_bytes=1 << 20, segment_age=3600.0, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        record = event(Action.PROCESS_STARTED, 0.0)
        try:
            journal.append(record, False, None)
            await asyncio.sleep(0)
            journal.append(record, False, None)
            async with asyncio.timeout(30):
                await handed_over.wait()
            assert [(batch.first_seq, batch.end.seq) for batch in batches] == [(2, 3)]
            journal.append(record, False, None)
            await journal.record(record, synced=False)
            assert [(batch.first_seq, batch.end.seq) for batch in batches] == [(2, 3), (4, 5)]
        finally:
            journal.close(5.0)

    asyncio.run(main())
