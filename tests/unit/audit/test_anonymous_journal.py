"""A flood of strangers: bounded on disk, exact in its counts, and the hole it leaves is accepted only as recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from audit.anonymous import BoundedJournal, Coalescer
from audit.event import Action, event
from audit.journal import Journal
from audit.reader import JournalReader
from audit.segment import body_of, segments
from audit.verify import IntegrityError, verify_journals
from tests.support.trails import Trail

WRITER = "worker-0.anonymous"


def refusal(address: str, wall: float) -> dict[str, Any]:
    return event(Action.REQUEST_DECIDED, wall, {"source.ip": address, "sekisho.reason": "sign_in_required"})


def bounded(root: Path) -> BoundedJournal:
    return BoundedJournal(root, WRITER, total_bytes=60_000, segment_bytes=15_000, segment_age=3600, stall_limit=30)


def bodies(root: Path) -> list[dict[str, Any]]:
    reader, found = JournalReader(root, WRITER), []
    while records := reader.read():
        found += [orjson.loads(body_of(record.line)) for record in records]
    return found


def test_beyond_the_budget_only_counts_are_kept(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, WRITER, segment_bytes=1 << 20, segment_age=3600, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        coalescer = Coalescer(journal, budget=3, addresses=2)
        told: list[object] = []
        for at in range(10):
            for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
                coalescer.append(refusal(address, 60 + at), address, "sign_in_required", 60 + at, told.append)
        assert len(told) == 24  # 7 + 7 + 10 were counted and answered at once
        coalescer.append(refusal("192.0.2.1", 125), "192.0.2.1", "sign_in_required", 125, told.append)
        assert coalescer.flush(190) == 0
        await journal.record(event(Action.CLOCK_JUMPED, 0))
        assert told == [None] * 31
        journal.close(5)

    asyncio.run(run())
    found = bodies(tmp_path)
    counts = {body.get("source.ip"): body for body in found if body["event.action"] == "request.coalesced"}
    assert {address: body["sekisho.count"] for address, body in counts.items()} == {
        "192.0.2.1": 7, "192.0.2.2": 7, None: 10,
    }  # fmt: skip
    assert counts["192.0.2.1"]["sekisho.first"] == "1970-01-01T00:01:03.000Z"
    assert counts["192.0.2.1"]["sekisho.last"] == "1970-01-01T00:01:09.000Z"
    assert sum(body["event.action"] == "request.decided" for body in found) == 7


async def flood(root: Path, count: int) -> None:
    journal = bounded(root)
    journal.open(asyncio.get_running_loop())
    for at in range(count):
        if at % 20:
            journal.append(refusal("192.0.2.1", at), False, None)
        else:
            await journal.record(refusal("192.0.2.1", at), synced=True)
    journal.close(5)


@pytest.mark.promise("P5.only-recorded-deletions")
def test_the_oldest_segments_go_and_exactly_that_verifies(trail: Trail) -> None:
    asyncio.run(flood(trail.journals, 60))
    trail.sign()
    asyncio.run(flood(trail.journals, 400))
    asyncio.run(flood(trail.journals, 10))
    folder = trail.journals / WRITER
    assert sum(segment.path.stat().st_size for segment in segments(folder)) < 60_000 + 2 * 20_000
    trimmed = [body for body in bodies(trail.journals) if body["event.action"] == "audit.trimmed"]
    assert trimmed
    trail.sign()
    proved = verify_journals(trail.journals, trail.log, trail.signer.verifier).writers[WRITER]
    assert proved.removed == trimmed[-1]["sekisho.trimmed.records_total"]
    oldest = segments(folder)[0].path
    oldest.unlink()
    with pytest.raises(IntegrityError, match="start: got records up to"):
        verify_journals(trail.journals, trail.log, trail.signer.verifier)


def test_only_anonymous_writers_may_be_bounded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="anonymous"):
        BoundedJournal(tmp_path, "worker-0", total_bytes=1, segment_bytes=1, segment_age=1, stall_limit=30)


def test_pages_served_to_strangers_are_not_counted_as_refusals(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, WRITER, segment_bytes=1 << 20, segment_age=3600, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        coalescer = Coalescer(journal, budget=0)
        for outcome in ("success", "failure", "success"):
            record = {**refusal("192.0.2.1", 60), "event.outcome": outcome}
            coalescer.append(record, "192.0.2.1", "own_page", 60, None)
        assert coalescer.flush(120) == 2
        await journal.record(event(Action.CLOCK_JUMPED, 0))
        journal.close(5)

    asyncio.run(run())
    counts = [body for body in bodies(tmp_path) if body["event.action"] == "request.coalesced"]
    assert {body["event.outcome"]: (body["sekisho.count"], body["event.type"]) for body in counts} == {
        "success": (2, ["access", "allowed"]), "failure": (1, ["access", "denied"]),
    }  # fmt: skip
