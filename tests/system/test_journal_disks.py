"""A journal on real small disks: full, nearly full, read-only; and a folder that somebody else already writes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from audit.auditor import Auditor
from audit.checkpoint import generate
from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy
from audit.room import Floor, Reserve
from audit.verify import verify_journals
from tests.support.small_disk import small_disk
from tests.support.trail_checker import Stored, read

WRITER = "worker-0"


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run the test's body in a loop."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())


def journal(folder: Path, **options: Any) -> Journal:
    """Return a journal of small segments."""
    return Journal(folder, WRITER, **{"segment_bytes": 6000, "segment_age": 3600.0, "stall_limit": 30.0, **options})


def note(number: int, wall: float = 1.0) -> dict[str, Any]:
    return event(Action.REQUEST_DECIDED, wall, {"sekisho.count": number})


async def fill(kept: Journal, start: int = 0, limit: int = 100_000) -> int:
    """Append one after another until the journal refuses; return how many it kept."""
    for number in range(start, start + limit):
        try:
            await kept.record(note(number), synced=number % 2 == 0)
        except JournalUnhealthy:
            return number
    raise AssertionError(f"{limit} records and the disk is not full")


async def until_healthy(kept: Journal) -> None:
    async with asyncio.timeout(30):
        while not kept.healthy:  # noqa: ASYNC110 (a thread's state: nothing to await)
            await asyncio.sleep(0.02)


def stored(folder: Path) -> tuple[list[Stored], list[int]]:
    """Have both readers read the trail; return the records and the numbers in them."""
    verify_journals(folder)
    found, wrong = read(folder / WRITER)
    assert wrong == []
    return found, [each.body["sekisho.count"] for each in found if "sekisho.count" in each.body]


@pytest.mark.promise("P2.unhealthy-journal-refuses")
def test_a_full_disk_of_64_kb_refuses_and_loses_nothing_and_recovers_by_itself(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        kept: list[int] = []

        async def main() -> None:
            full = journal(disk.folder)
            full.open(asyncio.get_running_loop())
            kept.append(await fill(full))
            assert "No space left" in full.fault
            with pytest.raises(JournalUnhealthy):
                await full.record(note(0))
            disk.remount("size=128k")
            await until_healthy(full)
            await full.record(note(9999))
            full.close(5)

        run(main)
        found, numbers = stored(disk.folder)
        assert kept[0] > 100
        assert numbers[: kept[0]] == list(range(kept[0]))
        assert numbers[-1] == 9999
        gap = next(each.body for each in found if each.body["event.action"] == "audit.gap")
        assert "No space left" in gap["sekisho.gap.reason"]
        assert gap["sekisho.gap.refused"] >= 1


@pytest.mark.promise("P2.disk-reserve-refuses-in-order")
def test_with_a_reserve_it_refuses_before_a_write_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.room.LOOK_EACH", 0.01)  # 64 kB are written in less than a second
    reserve = Reserve(Floor(0.4, 2**20), Floor(0.2, 2**20))
    with small_disk(tmp_path / "disk", "64k") as disk:
        kept: list[int] = []

        async def main() -> None:
            sparing = journal(disk.folder, reserve=reserve)
            sparing.open(asyncio.get_running_loop())
            while sparing.healthy:
                await sparing.record(note(len(kept)))
                kept.append(len(kept))
                await asyncio.sleep(0.002)
            with pytest.raises(JournalUnhealthy, match="disk reserve"):
                await sparing.record(note(len(kept)))
            await sparing.record(note(5000), essential=True)
            disk.remount("size=128k")
            await until_healthy(sparing)
            await sparing.record(note(9999))
            assert sparing.epoch == 1  # nothing failed
            sparing.close(5)

        run(main)
        found, numbers = stored(disk.folder)
        assert numbers == [*kept, 5000, 9999]
        gaps = [each.body for each in found if each.body["event.action"] == "audit.gap"]
        assert [(gap["sekisho.gap.refused"], gap["sekisho.gap.failed"]) for gap in gaps] == [(1, 0)]


def test_a_disk_that_turns_read_only_refuses_and_recovers(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:

        async def main() -> None:
            idle = journal(disk.folder, segment_age=0.1)
            idle.open(asyncio.get_running_loop())
            await idle.record(note(1))
            async with asyncio.timeout(30):
                while any((disk.folder / WRITER).glob("*.active")):  # noqa: ASYNC110 (a thread's file)
                    await asyncio.sleep(0.02)
            disk.remount("ro")  # the kernel allows it: no file is open for writing
            with pytest.raises(JournalUnhealthy, match="Read-only file system"):
                await idle.record(note(2))
            await asyncio.sleep(0.5)
            assert not idle.healthy
            disk.remount("rw")
            await until_healthy(idle)
            await idle.record(note(3))
            idle.close(5)

        run(main)
        assert stored(disk.folder)[1] == [1, 3]


@pytest.mark.promise("P2.second-writer-refused")
def test_a_second_process_on_one_folder_says_who_is_in_its_way_and_changes_nothing(tmp_path: Path) -> None:
    signer = generate("log.example")
    key = tmp_path / "key"
    key.write_text(signer.encode())

    async def main() -> None:
        first = journal(tmp_path / "journal")
        first.open(asyncio.get_running_loop())
        auditor = Auditor(tmp_path / "journal", tmp_path / "log", signer)
        commands = {
            "another process writes this journal": ["tests.support.journal_process", str(tmp_path / "journal"), "3"],
            "another process grows this log": ["audit.daemon", "--journal", str(tmp_path / "other"), "--log",
                                               str(tmp_path / "log"), "--key", str(key)],
        }  # fmt: skip
        for words, command in commands.items():
            second = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", *command],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert second.returncode == 1
            assert words in second.stderr
            assert str(tmp_path) in second.stderr  # and which folder it is
        await first.record(note(1))
        auditor.close()
        first.close(5)

    run(main)
    assert stored(tmp_path / "journal")[1] == [1]


def test_a_clock_that_steps_moves_no_record(tmp_path: Path) -> None:
    walls = [10_000.0, 10_001.0, 6_400.0, 6_401.0, 96_400.0, 20_000.0]  # an hour back, a day ahead, back again

    async def main() -> None:
        for epoch in (1, 2):
            stepping = journal(tmp_path / "journal", segment_bytes=900, clock=iter([50_000.0, 1.0]).__next__)
            stepping.open(asyncio.get_running_loop())
            for number, wall in enumerate(walls):
                await stepping.record(note(epoch * 100 + number, wall))
            stepping.close(5)

    run(main)
    found, numbers = stored(tmp_path / "journal")
    assert numbers == [*range(100, 106), *range(200, 206)]
    assert [(each.epoch, each.seq) for each in found] == [(epoch, seq) for epoch in (1, 2) for seq in range(1, 8)]
