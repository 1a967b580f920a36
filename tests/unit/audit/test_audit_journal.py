"""The journal in one loop: what is kept when, what a failure does to whoever waits, what a restart finds."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvloop

from audit.event import Action, check, event
from audit.journal import Journal, JournalUnhealthy
from audit.reader import JournalReader, Record
from audit.segment import body_of, segments

LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def make(root: Path, **options: Any) -> Journal:
    return Journal(
        root, "worker-0", **{"segment_bytes": 1 << 20, "segment_age": 3600.0, "stall_limit": 30.0, **options}
    )


def read(root: Path, writer: str = "worker-0") -> list[Record]:
    reader, records = JournalReader(root, writer), []
    while chunk := reader.read():
        records += chunk
    return records


def events(root: Path) -> list[dict[str, Any]]:
    return [orjson.loads(body_of(record.line)) for record in read(root)]


def note(number: int) -> dict[str, Any]:
    return event(Action.REQUEST_DECIDED, 1.0, {"sekisho.count": number})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (a thread's state: nothing to await)
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("factory", LOOPS)
@pytest.mark.promise("P2.kept-before-told")
def test_records_are_kept_in_order_and_chained(factory: LoopFactory, tmp_path: Path) -> None:
    async def run() -> None:
        journal = make(tmp_path, segment_bytes=2000)
        journal.open(asyncio.get_running_loop())
        told: list[int] = []

        def tell(at: int, _error: BaseException | None) -> None:
            told.append(at)

        numbers = [journal.append(note(at), at % 2 == 0, partial(tell, at)) for at in range(50)]
        assert numbers == list(range(2, 52))
        assert told == []  # nothing is told before the loop has handed the batch over
        await journal.record(note(50))
        assert sorted(told) == list(range(50))
        for at in range(51, 60):
            await journal.record(note(at), synced=at % 2 == 0)
        journal.close(5)
        with pytest.raises(JournalUnhealthy, match="closed"):
            journal.append(note(60), True, None)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())
    assert [body.get("sekisho.count") for body in events(tmp_path)] == [None, *range(60)]
    found = segments(tmp_path / "worker-0")
    assert len(found) > 1
    assert all(segment.sealed and segment.path.stat().st_mode & 0o777 == 0o400 for segment in found)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        first, second = make(tmp_path), make(tmp_path)
        first.open(asyncio.get_running_loop())
        with pytest.raises(JournalUnhealthy, match="another process writes this journal"):
            second.open(asyncio.get_running_loop())
        with pytest.raises(JournalUnhealthy):
            second.append(note(1), True, None)
        first.close(5)

    asyncio.run(run())


def test_a_new_epoch_cites_the_last_entry_and_sets_a_torn_tail_aside(tmp_path: Path) -> None:
    async def write() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        await journal.record(note(1))
        journal.close(5)

    asyncio.run(write())
    sealed = segments(tmp_path / "worker-0")[0].path
    sealed.chmod(0o600)
    active = sealed.with_suffix(".active")
    sealed.rename(active)
    last = read(tmp_path)[-1]
    with active.open("ab") as file:
        file.write(b'{"salt":"00')
    asyncio.run(write())
    opened = events(tmp_path)[2]
    assert opened["event.action"] == "journal.opened"
    assert (opened["epoch"], opened["seq"], opened["prev"]) == (2, 1, last.entry.hex())
    assert opened["sekisho.journal.previous.entry"] == last.entry.hex()
    assert opened["sekisho.journal.torn.bytes"] == 11
    torn = tmp_path / "worker-0" / opened["sekisho.journal.torn.file"]
    assert torn.read_bytes() == b'{"salt":"00'


class Disk:
    """Makes chosen file calls fail, or wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fail: int = 0
        self.hold = threading.Event()
        self.hold.set()
        self.real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def fdatasync(self, descriptor: int) -> None:
        self.hold.wait(60)
        if self.fail:
            raise OSError(self.fail, os.strerror(self.fail))
        self.real(descriptor)


@pytest.mark.promise("P2.failed-sync-is-never-success")
def test_a_failed_sync_refuses_until_a_gap_record_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)

    async def run() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        await journal.record(note(1))
        disk.fail = errno.EIO
        with pytest.raises(JournalUnhealthy, match="Input/output error"):
            await journal.record(note(2))
        assert not journal.healthy
        for _ in range(3):
            with pytest.raises(JournalUnhealthy):
                journal.append(note(3), False, None)
        disk.fail = 0
        await until(lambda: journal.healthy)
        await journal.record(note(4))
        journal.close(5)

    asyncio.run(run())
    found = events(tmp_path)
    gap = next(body for body in found if body["event.action"] == "audit.gap")
    assert gap["epoch"] == 2
    assert gap["seq"] == 1
    assert gap["sekisho.gap.refused"] == 3
    assert gap["sekisho.gap.failed"] == 1
    assert gap["sekisho.gap.unacknowledged.first"] == 3
    assert "Input/output error" in gap["sekisho.gap.reason"]
    assert found[-1]["sekisho.count"] == 4
    assert check({name: gap[name] for name in gap if name not in ("v", "writer", "epoch", "seq", "prev")}) == []


@pytest.mark.promise("P2.stall-refuses")
def test_a_stalled_disk_refuses_and_its_late_success_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def run() -> None:
        journal = make(tmp_path, stall_limit=2.0)
        journal.open(asyncio.get_running_loop())
        told: list[BaseException | None] = []
        disk.hold.clear()
        started = time.monotonic()
        journal.append(note(1), True, told.append)
        await until(lambda: not journal.healthy)
        assert time.monotonic() - started < 30  # the disk itself would take a minute
        assert len(told) == 1
        assert isinstance(told[0], JournalUnhealthy)
        disk.hold.set()
        await until(lambda: journal.healthy)
        assert len(told) == 1
        await journal.record(note(2))
        journal.close(5)

    asyncio.run(run())
    found = events(tmp_path)
    assert [body["event.action"] for body in found][-2:] == ["audit.gap", "request.decided"]
    assert "waiting for" in found[-2]["sekisho.gap.reason"]


def test_what_cannot_be_kept_adds_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        with pytest.raises(TypeError):
            journal.append({"@timestamp": object()}, True, None)
        with pytest.raises(ValueError, match="bytes"):
            journal.append({}, True, None)
        with pytest.raises(ValueError, match="bytes"):
            journal.append({"message": "x" * (1 << 20)}, True, None)
        assert await journal.record({**note(1), "user_agent.original": "a\ud800b"}) == 2
        journal.close(5)

    asyncio.run(run())
    assert events(tmp_path)[-1]["user_agent.original"] == "a\\ud800b"


def test_one_waiter_that_fails_does_not_keep_the_news_from_the_others(tmp_path: Path) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        faults: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: faults.append(context))
        journal = make(tmp_path)
        journal.open(loop)
        told: list[object] = []
        journal.append(note(1), True, lambda error: 1 / 0)  # type: ignore[arg-type]
        journal.append(note(2), True, told.append)
        await until(lambda: bool(told))
        assert told == [None]
        assert len(faults) == 1
        journal.close(5)

    asyncio.run(run())


def test_age_seals_a_segment_without_traffic(tmp_path: Path) -> None:
    async def run() -> None:
        journal = make(tmp_path, segment_age=0.05)
        journal.open(asyncio.get_running_loop())
        await journal.record(note(1))
        await until(lambda: all(segment.sealed for segment in segments(tmp_path / "worker-0")))
        await journal.record(note(2))
        journal.close(5)

    asyncio.run(run())
    assert [body.get("sekisho.count") for body in events(tmp_path)] == [None, 1, 2]


def test_a_writer_name_is_one_folder() -> None:
    with pytest.raises(ValueError, match="writer"):
        Journal(Path(), "../x", segment_bytes=1, segment_age=1)
