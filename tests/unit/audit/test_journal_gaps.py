"""What a journal says after it failed: what may be there, what is lost, who was refused, and that it notices."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from audit.journal import JournalUnhealthy
from audit.segment import segments
from tests.support.small_journal import Disk, Told, bodies, make, note, run, until


def test_a_gap_record_says_what_may_be_there_and_what_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        await journal.record(note(1))
        disk.fail = errno.EIO
        told: Told = []
        for at in range(2, 5):
            journal.append(note(at), True, told.append)
        journal.append(note(5), True, None)
        await until(lambda: not journal.healthy)
        assert journal.fault == "writing failed: [Errno 5] Input/output error"
        assert [str(error) for error in told] == [journal.fault] * 3
        for _ in range(2):
            with pytest.raises(JournalUnhealthy, match="Input/output error"):
                journal.append_encoded(b'{"a":1}', False, None)
        assert journal.epoch == 1
        suspect = segments(tmp_path / "worker-0")[0].path.stat().st_ino
        disk.fail = 0
        await until(lambda: journal.healthy)
        assert (journal.epoch, journal.fault) == (2, "")
        # what a failed sync may have lost is never synced again: the records stand in a file of their own
        assert segments(tmp_path / "worker-0")[0].path.stat().st_ino != suspect
        await journal.record(note(6))
        journal.close(5)

    run(main)
    found = bodies(tmp_path)
    gap = next(body for body in found if body["event.action"] == "audit.gap")
    told = {name.removeprefix("sekisho.gap."): value for name, value in gap.items() if "sekisho.gap." in name}
    assert 0 < told.pop("seconds") < 90
    assert told == {
        "reason": "writing failed: [Errno 5] Input/output error", "refused": 2, "failed": 4,
        "unacknowledged.epoch": 1, "unacknowledged.first": 3, "unacknowledged.last": 6,
    }  # fmt: skip
    assert (gap["epoch"], gap["seq"], gap["@timestamp"]) == (2, 1, "1970-01-01T00:00:07.000Z")
    assert [body.get("sekisho.count") for body in found] == [None, 1, 2, 3, 4, 5, None, 6]


def test_refusals_after_the_gap_was_counted_get_a_record_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        disk.fail = errno.ENOSPC
        with pytest.raises(JournalUnhealthy):
            await journal.record(note(1))
        with pytest.raises(JournalUnhealthy):
            journal.append(note(2), False, None)
        disk.open.clear()
        disk.fail = 0
        await until(lambda: disk.held > 0)  # the gap is being written: from now on it cannot count any more
        for _ in range(3):
            with contextlib.suppress(JournalUnhealthy):
                journal.append(note(3), False, None)
        disk.open.set()
        await until(lambda: journal.healthy)
        await journal.record(note(4))
        journal.close(5)

    run(main)
    gaps = [body for body in bodies(tmp_path) if body["event.action"] == "audit.gap"]
    assert [gap["sekisho.gap.refused"] for gap in gaps] == [1, 3]
    assert "No space left" in gaps[1]["sekisho.gap.reason"]
    assert gaps[1]["@timestamp"] == "1970-01-01T00:00:07.000Z"


def test_a_disk_that_refuses_the_recovery_too_is_told_with_both_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        disk.fail = errno.EIO
        with pytest.raises(JournalUnhealthy):
            await journal.record(note(1))
        disk.fail, tried = errno.ENOSPC, disk.syncs
        await until(lambda: disk.syncs >= tried + 2)
        assert not journal.healthy
        disk.fail = 0
        await until(lambda: journal.healthy)
        journal.close(5)

    run(main)
    gap = next(body for body in bodies(tmp_path) if body["event.action"] == "audit.gap")
    assert gap["sekisho.gap.reason"] == (
        "writing failed: [Errno 5] Input/output error; then: [Errno 28] No space left on device"
    )


def test_records_told_as_written_and_then_lost_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path, stall_limit=30.0)
        journal.open(asyncio.get_running_loop())
        await journal.record(note(1))
        disk.open.clear()
        await journal.record(note(2), synced=False)
        await journal.record(note(3), synced=False)
        active = segments(tmp_path / "worker-0")[0].path
        kept = b"".join(active.read_bytes().splitlines(keepends=True)[:2])
        os.truncate(active, len(kept))  # as a power failure would
        disk.fail = errno.EIO
        disk.open.set()
        await until(lambda: not journal.healthy)
        disk.fail = 0
        await until(lambda: journal.healthy)
        journal.close(5)

    run(main)
    found = bodies(tmp_path)
    gap = found[-1]
    assert [body.get("sekisho.count") for body in found] == [None, 1, None]
    assert (gap["sekisho.gap.lost"], gap["sekisho.gap.failed"], gap["sekisho.gap.refused"]) == (2, 0, 0)
    assert "sekisho.gap.unacknowledged.epoch" not in gap


def test_a_stall_is_noticed_in_its_time_and_no_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path, stall_limit=3.0)
        journal.open(asyncio.get_running_loop())
        await journal.record(note(1))
        disk.open.clear()
        told: Told = []
        began = time.monotonic()
        journal.append(note(2), True, told.append)
        await asyncio.sleep(0.25)
        assert (journal.healthy, told) == (True, [])
        disk.open.set()
        await until(lambda: told == [None])
        disk.open.clear()
        began = time.monotonic()
        journal.append(note(3), True, told.append)
        await until(lambda: not journal.healthy)
        assert time.monotonic() - began > 3.0
        assert float(journal.fault.removeprefix("the disk kept a record waiting for ").removesuffix(" s")) > 3.0
        disk.open.set()
        await until(lambda: journal.healthy)
        journal.close(5)

    run(main)
    gap = next(body for body in bodies(tmp_path) if body["event.action"] == "audit.gap")
    assert (gap["sekisho.gap.failed"], gap["sekisho.gap.unacknowledged.first"]) == (1, 4)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_bug_a_process_that_was_paused_blamed_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A machine that stood still for longer than a stall: a gap on record and refusals, without any fault."""
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path, stall_limit=2.0)
        journal.open(asyncio.get_running_loop())
        disk.open.clear()
        told: Told = []
        journal.append(note(1), True, told.append)
        await until(lambda: disk.held > 0)
        time.sleep(2.5)  # noqa: ASYNC251 (neither the loop nor, held, the writer gets anywhere)
        disk.open.set()
        await until(lambda: bool(told))
        assert (told, journal.epoch) == ([None], 1)
        journal.close(5)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_what_failed_once_does_not_count_as_a_stall_after_the_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path, stall_limit=2.0)
        journal.open(asyncio.get_running_loop())
        disk.fail = errno.EIO
        with pytest.raises(JournalUnhealthy):
            await journal.record(note(1))
        disk.fail = 0
        await until(lambda: journal.healthy)
        for at in range(2, 8):
            await journal.record(note(at))
            await asyncio.sleep(0.5)
        assert (journal.healthy, journal.epoch) == (True, 2)
        journal.close(5)

    run(main)
    assert [body["event.action"] for body in bodies(tmp_path)].count("audit.gap") == 1


def test_a_journal_closed_while_it_fails_still_says_what_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path)
        journal.open(asyncio.get_running_loop())
        disk.fail = errno.EIO
        with pytest.raises(JournalUnhealthy):
            await journal.record(note(1))  # it stands in the file all the same
        disk.fail = 0
        journal.close(5)

    run(main)
    found = bodies(tmp_path)
    assert [body["event.action"] for body in found] == ["journal.opened", "request.decided", "audit.gap"]
    assert (found[2]["sekisho.gap.unacknowledged.first"], found[2]["sekisho.gap.unacknowledged.last"]) == (2, 2)
    assert not list((tmp_path / "worker-0").glob("*.active"))
