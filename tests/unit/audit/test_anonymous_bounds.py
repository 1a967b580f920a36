"""The bounds of what strangers can make us write: minutes, budgets, sizes, and each way a trim can be interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from audit.anonymous import BoundedJournal, Coalescer
from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy
from audit.reader import JournalReader
from audit.segment import body_of, segments
from audit.segment_writer import SegmentWriter

WRITER = "worker-0.anonymous"


def record(at: int, **fields: Any) -> dict[str, Any]:
    return event(Action.REQUEST_DECIDED, at, {"sekisho.count": at, **fields})


def bodies(root: Path, action: str) -> list[dict[str, Any]]:
    reader, found = JournalReader(root, WRITER), []
    while records := reader.read():
        found += [orjson.loads(body_of(each.line)) for each in records]
    return [body for body in found if body["event.action"] == action]


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90):
            await main()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (a thread's state: nothing to await)
            await asyncio.sleep(0.002)


def coalescing(root: Path, main: Callable[[Coalescer, Journal], None], **options: int) -> None:
    async def body() -> None:
        journal = Journal(root, WRITER, segment_bytes=1 << 20, segment_age=3600, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        main(Coalescer(journal, **{"budget": 1, **options}), journal)
        if journal.healthy:
            journal.close(5)

    run(body)


def test_a_minute_has_its_own_budget_and_its_counts_their_own_record(tmp_path: Path) -> None:
    def main(coalescer: Coalescer, _journal: Journal) -> None:
        told: list[object] = []
        numbers = [
            coalescer.append(record(wall), "192.0.2.1", reason, wall, told.append)
            for wall, reason in ((0.0, "a"), (0.5, "a"), (59.9, "a"), (30.0, "b"), (60.0, "a"), (61.0, "a"))
        ]
        assert numbers == [2, None, None, None, 5, None]  # between lie the two counts of the first minute
        assert told == [None] * 4
        assert coalescer.append(record(62), "192.0.2.1", "a", 62, None) is None
        assert (coalescer.flush(120.5), coalescer.flush(120.5)) == (1, 0)
        assert coalescer.append(record(63), "192.0.2.1", "a", 63, None) == 7  # a flush begins afresh

    coalescing(tmp_path, main)
    counts = bodies(tmp_path, "request.coalesced")
    assert [(each["sekisho.reason"], each["sekisho.count"]) for each in counts] == [("a", 2), ("b", 1), ("a", 2)]
    assert counts[0] == {
        **{name: counts[0][name] for name in ("v", "writer", "epoch", "seq", "prev")},
        "@timestamp": "1970-01-01T00:01:00.000Z", "event.action": "request.coalesced", "event.kind": "event",
        "event.dataset": "sekisho.access", "event.category": ["web", "network"], "event.type": ["access", "denied"],
        "event.outcome": "failure", "ecs.version": "9.4.0", "source.ip": "192.0.2.1", "sekisho.reason": "a",
        "sekisho.count": 2, "sekisho.first": "1970-01-01T00:00:00.500Z", "sekisho.last": "1970-01-01T00:00:59.900Z",
    }  # fmt: skip
    assert counts[2]["@timestamp"] == "1970-01-01T00:02:00.500Z"


def test_addresses_beyond_the_table_share_one_row_without_an_address(tmp_path: Path) -> None:
    def main(coalescer: Coalescer, _journal: Journal) -> None:
        for address in ("a", "b", "c", "d", "a", "b"):
            coalescer.append(record(1, **{"event.outcome": "success"}), address, "r", 1, None)
        assert coalescer.flush(60) == 3

    coalescing(tmp_path, main, addresses=2)
    counts = bodies(tmp_path, "request.coalesced")
    assert [(each.get("source.ip"), each["sekisho.count"]) for each in counts] == [(None, 2), ("a", 1), ("b", 1)]
    assert {(each["event.outcome"], *each["event.type"]) for each in counts} == {("success", "access", "allowed")}


def test_the_table_has_ten_thousand_rows(tmp_path: Path) -> None:
    def main(coalescer: Coalescer, _journal: Journal) -> None:
        kept = [coalescer.append(record(1), f"a{at}", "r", 1, None) for at in range(10_002)]
        assert [number is None for number in kept[9_998:]] == [False, False, True, True]

    coalescing(tmp_path, main, total=20_000)


def test_many_addresses_get_no_more_full_records_than_the_total(tmp_path: Path) -> None:
    def main(coalescer: Coalescer, _journal: Journal) -> None:
        for minute in (0, 60):
            made = [coalescer.append(record(minute), f"a{at}", "r", minute, None) for at in range(50)]
            assert sum(number is not None for number in made) == 7
        assert coalescer.flush(120) == 43

    coalescing(tmp_path, main, total=7)
    counts = bodies(tmp_path, "request.coalesced")
    assert sum(each["sekisho.count"] for each in counts) == 86
    assert {each.get("source.ip") for each in counts} == {f"a{at}" for at in range(7, 50)}  # all of them are named


def test_counts_outlive_a_journal_that_cannot_keep_them(tmp_path: Path) -> None:
    def main(coalescer: Coalescer, journal: Journal) -> None:
        for _ in range(3):
            coalescer.append({"event.action": "request.decided"}, "a", "r", 1, None)
        journal.close(5)
        for wall in (2, 61):
            with pytest.raises(JournalUnhealthy):
                coalescer.append(record(2), "b", "r", wall, None)
        with pytest.raises(JournalUnhealthy):
            coalescer.flush(61)
        healthy = Journal(tmp_path, WRITER, segment_bytes=1 << 20, segment_age=3600, stall_limit=30)
        healthy.open(asyncio.get_running_loop())
        coalescer._journal = healthy
        assert coalescer.flush(62) == 1
        healthy.close(5)

    coalescing(tmp_path, main)
    assert [(each["source.ip"], each["sekisho.count"]) for each in bodies(tmp_path, "request.coalesced")] == [("a", 2)]


# --- the bounded journal


def bounded(root: Path, total: int = 6000, segment: int = 1500) -> BoundedJournal:
    return BoundedJournal(
        root, WRITER, total_bytes=total, segment_bytes=segment, segment_age=3600, stall_limit=30.0, clock=lambda: 9.0
    )


async def fill(journal: Journal, count: int) -> None:
    for at in range(count):
        await journal.record(record(at, **{"url.path": "/" + "x" * 300}))


def sizes(root: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in segments(root / WRITER):
        with contextlib.suppress(FileNotFoundError):  # it may go, or be sealed, while we look
            found[each.path.name] = each.path.stat().st_size
    return found


def test_a_trim_says_exactly_what_goes_and_only_then_does_it_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[tuple[list[str], int, int]] = []
    real = SegmentWriter.remove

    def remove(files: SegmentWriter, names: list[str]) -> None:
        size = sum((files.folder / name).stat().st_size for name in names)
        removed.append((names, size, len(bodies(tmp_path, "audit.trimmed"))))
        real(files, names)

    monkeypatch.setattr(SegmentWriter, "remove", remove)

    async def main() -> None:
        journal = bounded(tmp_path)
        journal.open(asyncio.get_running_loop())
        await fill(journal, 30)
        await until(lambda: sum(sizes(tmp_path).values()) < 6000 + 2 * 2500)
        journal.close(5)

    run(main)
    trimmed = bodies(tmp_path, "audit.trimmed")
    assert len(trimmed) >= 2
    assert all(on_record >= 1 for _, _, on_record in removed)  # each deletion was on record before
    gone = 0
    by_name = {tuple(names): size for names, size, _ in removed}
    for body in trimmed:
        names = tuple(body["sekisho.trimmed.segments"])
        assert body["@timestamp"] == "1970-01-01T00:00:09.000Z"
        if names in by_name:
            assert body["sekisho.trimmed.bytes"] == by_name[names]
        first = int(names[0].split("-")[1].partition(".")[0])
        count = body["sekisho.trimmed.seq"] - first + 1
        assert body["sekisho.trimmed.epoch"] == 1
        if gone or first == 1:
            gone += count
            assert body["sekisho.trimmed.records_total"] == gone
    left = JournalReader(tmp_path, WRITER)
    left.read()
    assert left.gone is not None
    last = next(body for body in trimmed if body["sekisho.trimmed.seq"] == left.gone.seq)
    assert last["sekisho.trimmed.entry"] == left.gone.entry.hex()


@pytest.mark.parametrize(("total", "goes"), [(0, 0), (-1, 1)])
def test_exactly_the_bound_may_stay(tmp_path: Path, total: int, goes: int) -> None:
    async def main() -> None:
        first = bounded(tmp_path, total=1 << 30)
        first.open(asyncio.get_running_loop())
        await fill(first, 9)
        first.close(5)
        found = sizes(tmp_path)
        assert len(found) >= 2
        again = bounded(tmp_path, total=sum(found.values()) + total)
        again.open(asyncio.get_running_loop())
        await again.record(record(1))
        await until(lambda: len([name for name in sizes(tmp_path) if name in found]) == len(found) - goes)
        again.close(5)

    run(main)
    assert len(bodies(tmp_path, "audit.trimmed")) == goes


def test_the_newest_sealed_segment_never_goes(tmp_path: Path) -> None:
    async def main() -> None:
        journal = bounded(tmp_path, total=1)
        journal.open(asyncio.get_running_loop())
        await fill(journal, 12)
        journal.close(5)

    run(main)
    assert any(each.sealed for each in segments(tmp_path / WRITER))
    assert bodies(tmp_path, "audit.trimmed")


def test_a_crash_between_record_and_deletion_is_made_good_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash() -> None:
        journal = bounded(tmp_path)
        journal.open(asyncio.get_running_loop())
        await fill(journal, 24)
        journal.close(5)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "remove", lambda _files, _names: None)
        run(crash)
    going = {name for body in bodies(tmp_path, "audit.trimmed") for name in body["sekisho.trimmed.segments"]}
    total = bodies(tmp_path, "audit.trimmed")[-1]["sekisho.trimmed.records_total"]
    assert going <= sizes(tmp_path).keys()
    others = sizes(tmp_path).keys() - going

    async def again(count: int, bound: int) -> None:
        journal = bounded(tmp_path, total=bound)
        journal.open(asyncio.get_running_loop())
        await fill(journal, count)
        await until(lambda: not going & sizes(tmp_path).keys())
        journal.close(5)

    run(lambda: again(1, 1 << 30))
    assert others <= sizes(tmp_path).keys()
    records = {each.path.name: each.path.read_bytes().count(b"\n") for each in segments(tmp_path / WRITER)}
    run(lambda: again(8, 6000))
    later = next(body for body in bodies(tmp_path, "audit.trimmed") if body["epoch"] == 3)
    gone = sum(count for name, count in records.items() if name <= later["sekisho.trimmed.segments"][-1])
    assert later["sekisho.trimmed.records_total"] == total + gone


def test_a_trim_that_was_not_kept_is_as_if_never_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, hold = os.fdatasync, threading.Event()
    hold.set()
    fails: list[int] = []

    def fdatasync(descriptor: int) -> None:
        hold.wait(60)
        if fails:
            raise OSError(fails[0], os.strerror(fails[0]))
        real(descriptor)

    async def main() -> None:
        journal = bounded(tmp_path, total=1 << 30)
        journal.open(asyncio.get_running_loop())
        await fill(journal, 12)
        await until(lambda: len(journal._sealed) >= 2)
        before, kept = journal._removed, list(journal._sealed)
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        hold.clear()
        journal._total_bytes = 1
        journal._trim_beyond()
        assert (len(journal._sealed), journal._removed > before) == (1, True)
        fails.append(errno.EIO)
        hold.set()
        await until(lambda: not journal.healthy)
        assert (list(journal._sealed), journal._removed) == (kept, before)
        journal._trim_beyond()  # nothing while the journal is unhealthy
        assert list(journal._sealed) == kept
        assert all(each.segment.path.exists() for each in kept)
        fails.clear()
        await until(lambda: journal.healthy)
        journal._trim_beyond()
        await until(lambda: not kept[0].segment.path.exists())
        journal.close(5)

    run(main)


def test_a_bounded_journal_is_named_for_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"writer: got 'worker-0', expected a name ending in \.anonymous"):
        BoundedJournal(tmp_path, "worker-0", total_bytes=1, segment_bytes=1, segment_age=1, stall_limit=30)
