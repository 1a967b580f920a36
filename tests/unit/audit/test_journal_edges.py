"""The journal at its edges: its states, what waiters hear, how it closes, when it seals."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

import orjson
import pytest

from audit.journal import JournalUnhealthy
from audit.journal_thread import Batch, WriterThread
from audit.segment import body_of, segments
from tests.support.small_journal import Disk, Told, bodies, make, note, run, until


def test_its_states_are_told(tmp_path: Path) -> None:
    async def main() -> None:
        journal = make(tmp_path)
        assert (journal.healthy, journal.fault, journal.epoch, journal.writer) == (False, "not opened", 0, "worker-0")
        with pytest.raises(JournalUnhealthy, match="not opened"):
            journal.append(note(1), False, None)
        journal.close(1)
        assert journal.fault == "not opened"
        journal.open(asyncio.get_running_loop())
        assert (journal.healthy, journal.fault, journal.epoch) == (True, "", 1)
        assert await journal.record(note(1)) == 2
        journal.close(5)
        assert (journal.healthy, journal.fault) == (False, "closed")
        journal.close(5)
        with pytest.raises(JournalUnhealthy, match="closed"):
            journal.append_encoded(b'{"a":1}', False, None)
        again = make(tmp_path)
        again.open(asyncio.get_running_loop())
        assert again.epoch == 2
        again.close(5)

    run(main)
    opened = [body for body in bodies(tmp_path) if body["event.action"] == "journal.opened"]
    assert [body["@timestamp"] for body in opened] == ["1970-01-01T00:00:07.000Z"] * 2
    assert "sekisho.journal.previous.epoch" not in opened[0]
    assert (opened[1]["sekisho.journal.previous.epoch"], opened[1]["sekisho.journal.previous.seq"]) == (1, 2)
    assert "sekisho.journal.torn.file" not in opened[1]


LONGEST = (1 << 20) - 512


@pytest.mark.parametrize(("length", "kept"), [(2, False), (8, True), (LONGEST, True), (LONGEST + 1, False)])
def test_how_long_a_record_may_be(tmp_path: Path, length: int, kept: bool) -> None:
    payload = b"{}" if length == 2 else b'{"a":"' + b"x" * (length - 8) + b'"}'
    assert len(payload) == length

    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        told: Told = []
        if kept:
            assert journal.append_encoded(payload, True, told.append) == 2
            await until(lambda: told == [None])
        else:
            with pytest.raises(ValueError, match=f"a record of {length} bytes: expected 3 to {LONGEST}"):
                journal.append_encoded(payload, True, told.append)
        assert await journal.record(note(1)) == (3 if kept else 2)
        journal.close(5)

    run(main)
    assert len(bodies(tmp_path)) == (3 if kept else 2)


def test_many_records_have_salts_of_their_own(tmp_path: Path) -> None:
    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        numbers = [journal.append(note(at), False, None) for at in range(600)]
        assert numbers == list(range(2, 602))
        await journal.record(note(600))
        journal.close(5)

    run(main)
    lines = segments(tmp_path / "worker-0")[0].path.read_bytes().splitlines()
    assert len({line[9:41] for line in lines}) == len(lines) == 602
    assert [orjson.loads(body_of(line + b"\n")).get("sekisho.count") for line in lines] == [None, *range(601)]


def test_texts_that_utf_8_cannot_carry_are_kept_escaped_wherever_they_stand(tmp_path: Path) -> None:
    bad = "a\ud800"
    odd = {"l": [bad, 1, None], "t": ({"x": bad},), bad: {bad: True}}

    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        await journal.record({**note(1), "sekisho.facts": odd})
        journal.close(5)

    run(main)
    good = "a\\ud800"
    assert bodies(tmp_path)[-1]["sekisho.facts"] == {"l": [good, 1, None], "t": [{"x": good}], good: {good: True}}


def test_who_stopped_waiting_is_not_told_and_the_record_stands(tmp_path: Path) -> None:
    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
        waiting = asyncio.ensure_future(journal.record(note(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await journal.record(note(2))
        assert (waiting.cancelled(), faults) == (True, [])
        journal.append(note(3), True, lambda _error: 1 / 0)  # type: ignore[arg-type,return-value]
        await journal.record(note(4))
        assert [fault["message"] for fault in faults] == ["a journal waiter failed"]
        assert isinstance(faults[0]["exception"], ZeroDivisionError)
        journal.close(5)

    run(main)
    assert [body.get("sekisho.count") for body in bodies(tmp_path)] == [None, 1, 2, 3, 4]


def test_written_is_told_before_synced_and_synced_only_after_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path, stall_limit=10.0)
        journal.open(asyncio.get_running_loop())
        disk.open.clear()
        told: list[str] = []
        journal.append(note(1), True, lambda error: told.append(f"synced {error}"))
        journal.append(note(2), False, lambda error: told.append(f"written {error}"))
        await until(lambda: bool(told))
        assert told == ["written None"]
        syncs = disk.syncs
        disk.open.set()
        await until(lambda: len(told) == 2)
        assert told == ["written None", "synced None"]
        assert disk.syncs > syncs
        journal.close(5)

    run(main)


def test_what_is_only_written_is_synced_soon_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        syncs = disk.syncs
        await journal.record(note(1), synced=False)
        await until(lambda: disk.syncs == syncs + 1)
        await asyncio.sleep(0.05)
        assert disk.syncs == syncs + 1  # nothing is left to sync: the disk is left alone
        journal.close(5)

    run(main)


def test_closing_keeps_what_was_appended_in_the_same_breath(tmp_path: Path) -> None:
    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        told: Told = []
        journal.append(note(1), True, told.append)
        journal.append(note(2), False, told.append)
        journal.append(note(3), False, None)
        journal.close(5)
        assert told == [None, None]
        await asyncio.sleep(0.02)
        assert told == [None, None]

    run(main)
    assert [body.get("sekisho.count") for body in bodies(tmp_path)] == [None, 1, 2, 3]
    assert [each.sealed for each in segments(tmp_path / "worker-0")] == [True]


def test_closing_a_stuck_journal_tells_who_waits_and_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path, stall_limit=60.0)
        journal.open(asyncio.get_running_loop())
        disk.open.clear()
        told: Told = []
        journal.append(note(1), True, told.append)
        await until(lambda: disk.held > 0)
        began = time.monotonic()
        journal.close(0.1)
        assert 0.09 < time.monotonic() - began < 30  # the disk itself would take a minute
        assert [str(error) for error in told] == ["closed before the record was kept"]
        assert isinstance(told[0], JournalUnhealthy)
        disk.open.set()
        await asyncio.sleep(0.1)
        assert len(told) == 1  # its late success is told to nobody

    run(main)


def test_a_folder_that_cannot_be_settled_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        (tmp_path / "file").touch()
        with pytest.raises(JournalUnhealthy, match=r"worker-0: .*File exists"):
            make(tmp_path / "file").open(asyncio.get_running_loop())

        def never(thread: WriterThread, limit: float) -> None:
            assert limit == 60.0
            raise Empty

        monkeypatch.setattr(WriterThread, "start", never)
        journal = make(tmp_path)
        with pytest.raises(JournalUnhealthy, match="worker-0: the folder was not settled within 60 s"):
            journal.open(asyncio.get_running_loop())
        assert journal.fault == "not opened"

    run(main)


@pytest.mark.parametrize(("size", "count"), [(1, 20), (1 << 20, 1)])
def test_a_full_segment_is_sealed_and_the_next_one_begun(tmp_path: Path, size: int, count: int) -> None:
    async def main() -> None:
        journal = make(tmp_path, segment_bytes=size)
        journal.open(asyncio.get_running_loop())
        for at in range(20):
            await journal.record(note(at))
        journal.close(5)

    run(main)
    found = segments(tmp_path / "worker-0")
    assert len(found) == count  # the epoch's own record shares a file with the first of others
    assert all(each.sealed for each in found)
    assert [body.get("sekisho.count") for body in bodies(tmp_path)] == [None, *range(20)]


def test_work_of_others_runs_in_the_writers_thread_after_what_is_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[WriterThread] = []
    started = WriterThread.start
    monkeypatch.setattr(
        WriterThread, "start", lambda thread, limit: (threads.append(thread), started(thread, limit))[1]
    )

    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        names: list[str] = []
        threads[0].do(lambda: names.append(threading.current_thread().name))
        await until(lambda: bool(names))
        assert names == ["journal worker-0"]
        batch = Batch(b"never", None, 0, 0.0, [], [], False, False, dropped=True)  # type: ignore[arg-type]
        threads[0].submit(batch)
        await journal.record(note(1))
        journal.close(5)

    run(main)
    assert [body.get("sekisho.count") for body in bodies(tmp_path)] == [None, 1]


def test_what_nobody_waits_for_is_written_again_and_again_with_one_timer_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        timers: list[float] = []
        real = loop.call_later

        def call_later(delay: float, callback: Callable[..., object], *arguments: object) -> asyncio.TimerHandle:
            timers.append(delay)
            return real(delay, callback, *arguments)

        monkeypatch.setattr(loop, "call_later", call_later)
        journal = make(tmp_path)
        journal.open(loop)
        for turn in range(3):
            timers.clear()
            for at in range(5):
                journal.append(note(turn * 5 + at), False, None)
            assert timers.count(0.004) == 1
            await until(lambda turn=turn: len(bodies(tmp_path)) == 1 + 5 * (turn + 1))  # type: ignore[misc]
        journal.append(note(15), False, None)
        assert timers.count(0.004) == 2
        await journal.record(note(16), synced=False)
        journal.close(5)

    run(main)
    assert [body.get("sekisho.count") for body in bodies(tmp_path)] == [None, *range(17)]
