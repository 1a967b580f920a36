"""A disk that fills: what each journal leaves to the others, what it still takes, and how it comes back by itself."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.anonymous import BoundedJournal, Coalescer
from audit.event import Action, check, event
from audit.journal import JournalUnhealthy
from audit.reader import JournalReader
from audit.room import Floor, Level, Reserve, Room, Watch, look
from audit.segment import record_of
from audit.verify import verify_journals
from tests.support.small_journal import Disk, Told, bodies, make, note, run, until

GIB = 2**30
STAFF = Reserve(Floor(0.05, 8 * GIB), Floor(0.03, 5 * GIB))


def room(free: int, total: int = 1000, free_nodes: int = 1000, nodes: int = 1000) -> Room:
    return Room(total, free, nodes, free_nodes)


@pytest.mark.parametrize(
    ("seen", "before", "level"),
    [
        (room(50), Level.AMPLE, Level.AMPLE), (room(49), Level.AMPLE, Level.SPARING),
        (room(50), Level.SPARING, Level.SPARING), (room(62), Level.SPARING, Level.SPARING),
        (room(63), Level.SPARING, Level.AMPLE), (room(30), Level.SPARING, Level.SPARING),
        (room(29), Level.AMPLE, Level.REFUSING), (room(30), Level.REFUSING, Level.REFUSING),
        (room(38), Level.REFUSING, Level.SPARING), (room(900), Level.REFUSING, Level.AMPLE),
        (room(900, free_nodes=49), Level.AMPLE, Level.SPARING), (room(900, free_nodes=20), Level.AMPLE, Level.REFUSING),
        (room(900, free_nodes=0, nodes=0), Level.AMPLE, Level.AMPLE),
        (room(9 * GIB, total=4000 * GIB), Level.AMPLE, Level.AMPLE),
        (room(7 * GIB, total=4000 * GIB), Level.AMPLE, Level.SPARING),
        (room(10**9, 10**9, 10_001, 10**8), Level.AMPLE, Level.AMPLE),
        (room(10**9, 10**9, 9_999, 10**8), Level.AMPLE, Level.REFUSING),
    ],
)  # fmt: skip
def test_floors_are_shares_up_to_a_size_and_left_with_a_margin(seen: Room, before: Level, level: Level) -> None:
    assert STAFF.level(seen, before) is level


@given(st.integers(0, 1000), st.integers(0, 1000), st.sampled_from(Level))
def test_less_room_never_takes_more(some: int, more: int, before: Level) -> None:
    less, much = sorted((some, more))
    assert STAFF.level(room(less), before) >= STAFF.level(room(much), before)
    assert STAFF.level(room(less), before) >= STAFF.level(room(less), Level.AMPLE)


def test_the_disk_is_seen_as_a_user_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = look(tmp_path)
    assert 0 < seen.free <= seen.total
    found = SimpleNamespace(f_frsize=4096, f_blocks=1000, f_bfree=300, f_bavail=100, f_files=10, f_ffree=4, f_favail=4)
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    assert look(tmp_path) == Room(800 * 4096, 100 * 4096, 10, 4)
    assert look(tmp_path).used == pytest.approx(1 - 100 / 800)
    assert room(900, free_nodes=100).used == pytest.approx(0.9)
    assert room(900, free_nodes=0, nodes=0).used == pytest.approx(0.1)
    assert room(0, total=0).used == 1.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks each 20 ms instead of each second."""
    monkeypatch.setattr("audit.room.LOOK_EACH", 0.02)


@dataclass
class Filled:
    """The disk as the journals see it."""

    free: int = 1000

    def statvfs(self, _folder: object) -> SimpleNamespace:
        if self.free < 0:
            raise OSError(5, "x")
        return SimpleNamespace(
            f_frsize=1, f_blocks=1000, f_bfree=self.free, f_bavail=self.free, f_files=0, f_ffree=0, f_favail=0
        )


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Filled:
    filled = Filled()
    monkeypatch.setattr(os, "statvfs", filled.statvfs)
    return filled


def test_a_watch_looks_once_a_second_after_a_segment_and_after_much_was_written(disk: Filled) -> None:
    watch = Watch(Path("/"), STAFF)
    assert (watch.look(100.0), watch.wait(100.25)) == (None, 0.75)
    disk.free = 40
    assert watch.look(100.9) is None
    seen = watch.look(101.0)
    assert (seen, watch.level) == (Room(1000, 40, 0, 0), Level.SPARING)
    disk.free = 20
    watch.wrote(4 * 2**20 - 1)
    assert watch.look(101.5) is None
    watch.wrote(1)
    assert watch.wait(101.5) == 0
    assert watch.look(101.5) is not None
    disk.free = 500
    watch.sealed()
    assert (watch.look(101.6), watch.level) == (Room(1000, 500, 0, 0), Level.AMPLE)
    disk.free = -1  # a disk that does not answer is noticed by the next write
    assert (watch.look(105.0), watch.level) == (None, Level.AMPLE)


@pytest.mark.promise("P2.disk-reserve-refuses-in-order")
@pytest.mark.promise("P2.disk-recovers")
@pytest.mark.usefixtures("quick")
def test_below_its_floor_a_journal_takes_what_is_essential_then_nothing_and_recovers(
    tmp_path: Path, disk: Filled
) -> None:
    async def main() -> None:
        journal = make(tmp_path, reserve=STAFF)
        journal.open(asyncio.get_running_loop())
        await journal.record(note(1))
        assert (journal.healthy, journal.sparing) == (True, False)
        disk.free = 40
        await until(lambda: journal.sparing)
        assert not journal.healthy
        with pytest.raises(JournalUnhealthy, match=r"^disk reserve: 40 of 1000 bytes"):
            journal.append(note(2), True, None)
        with pytest.raises(JournalUnhealthy, match="disk reserve"):
            await journal.record(note(2))
        await journal.record(note(3), essential=True)
        journal.append_encoded(b'{"a":1}', False, None, b"", True)
        disk.free = 20
        await until(lambda: not journal.sparing)
        with pytest.raises(JournalUnhealthy):
            await journal.record(note(4), essential=True)
        disk.free = 60  # above the floor, yet not by a quarter
        await until(lambda: journal.sparing)
        await asyncio.sleep(0.2)
        assert journal.sparing
        disk.free = 100
        await until(lambda: journal.healthy)
        await journal.record(note(5))
        assert journal.epoch == 1
        journal.close(5)

    run(main)
    verify_journals(tmp_path)
    found = bodies(tmp_path)
    assert [body.get("sekisho.count") for body in found if "a" not in body] == [None, 1, 3, None, 5]
    gap = next(body for body in found if body.get("event.action") == "audit.gap")
    assert (gap["sekisho.gap.refused"], gap["sekisho.gap.failed"], gap["seq"]) == (3, 0, 5)
    assert gap["sekisho.gap.reason"] == "disk reserve: 40 of 1000 bytes and 0 files are free"
    assert gap["sekisho.gap.seconds"] > 0.2


@pytest.mark.usefixtures("quick")
def test_a_journal_opens_on_a_full_disk_and_a_short_time_without_refusals_leaves_no_gap(
    tmp_path: Path, disk: Filled
) -> None:
    disk.free = 10

    async def main() -> None:
        journal = make(tmp_path, reserve=STAFF)
        journal.open(asyncio.get_running_loop())
        await until(lambda: not journal.healthy)
        assert journal.fault.startswith("disk reserve")
        disk.free = 900
        await until(lambda: journal.healthy)
        await journal.record(note(1))
        journal.close(5)

    run(main)
    assert [body["event.action"] for body in bodies(tmp_path)] == ["journal.opened", "request.decided"]


@pytest.mark.usefixtures("quick")
def test_a_disk_that_fails_while_it_is_short_comes_back_short(
    tmp_path: Path, disk: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Disk(monkeypatch)

    async def main() -> None:
        journal = make(tmp_path, reserve=STAFF)
        journal.open(asyncio.get_running_loop())
        disk.free = 40
        await until(lambda: journal.sparing)
        with pytest.raises(JournalUnhealthy, match="disk reserve"):
            journal.append(note(1), True, None)
        broken.fail = 28
        told: Told = []
        journal.append(note(2), True, told.append, True)
        await until(lambda: len(told) == 1)
        assert "No space left" in journal.fault
        with pytest.raises(JournalUnhealthy, match="No space left"):
            journal.append(note(3), True, None, True)
        broken.fail = 0
        await until(lambda: journal.epoch == 2)
        assert journal.sparing
        assert journal.fault.startswith("disk reserve")
        disk.free = 900
        await until(lambda: journal.healthy)
        journal.close(5)

    run(main)
    verify_journals(tmp_path)
    gaps = [body for body in bodies(tmp_path) if body["event.action"] == "audit.gap"]
    assert [(gap["sekisho.gap.refused"], gap["sekisho.gap.reason"].partition(":")[0]) for gap in gaps] == [
        (1, "writing failed"), (1, "disk reserve"),
    ]  # fmt: skip


def strangers(root: Path) -> BoundedJournal:
    reserve = Reserve(Floor(0.1, GIB), Floor(0.03, GIB))
    return BoundedJournal(
        root,
        "worker-0.anonymous",
        total_bytes=10**7,
        segment_bytes=10**6,
        segment_age=3600,
        stall_limit=30,
        reserve=reserve,
    )


def decisions(root: Path) -> list[dict[str, Any]]:
    reader, found = JournalReader(root, "worker-0.anonymous"), []
    while records := reader.read():
        found += [record_of(each.line) for each in records]
    return found


@pytest.mark.usefixtures("quick")
def test_strangers_are_only_counted_while_room_is_spared_for_staff(tmp_path: Path, disk: Filled) -> None:
    def ask(coalescer: Coalescer, address: str, wall: float) -> int | None:
        told: Told = []
        number = coalescer.append(event(Action.REQUEST_DECIDED, wall), address, "a", wall, told.append)
        assert number is not None or told == [None]  # who is only counted need not wait
        return number

    async def main() -> None:
        journal = strangers(tmp_path)
        journal.open(asyncio.get_running_loop())
        coalescer = Coalescer(journal, budget=5)
        assert [ask(coalescer, "192.0.2.1", 0.0), ask(coalescer, "192.0.2.1", 0.0)] == [2, 3]
        disk.free = 80
        await until(lambda: journal.sparing)
        for at in range(1000):
            assert ask(coalescer, f"198.51.100.{at % 100}", 1.0) is None
        assert ask(coalescer, "192.0.2.1", 1.0) is None
        assert len(coalescer._spent) == 16
        assert coalescer.flush(60.0) == 17  # fifteen addresses, the one known before, all others together
        disk.free = 20
        await until(lambda: not journal.sparing)
        with pytest.raises(JournalUnhealthy, match="disk reserve"):
            ask(coalescer, "192.0.2.1", 61.0)
        disk.free = 900
        await until(lambda: journal.healthy)
        assert ask(coalescer, "192.0.2.1", 62.0) is not None
        journal.close(5)

    run(main)
    verify_journals(tmp_path)
    found = decisions(tmp_path)
    counts = {
        each.get("source.ip"): each["sekisho.count"] for each in found if each["event.action"] == "request.coalesced"
    }
    assert sum(counts.values()) == 1001
    assert (counts[None], counts["192.0.2.1"], counts["198.51.100.0"]) == (850, 1, 10)
    assert [
        fault for each in found for fault in check({k: v for k, v in each.items() if "." in k or k[0] == "@"})
    ] == []
