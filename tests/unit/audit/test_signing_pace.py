"""When the daemon signs, and when it waits for those who follow it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from audit import daemon as daemon_module
from audit.auditor import Auditor
from audit.checkpoint import generate
from audit.daemon import Daemon
from audit.journal import Journal
from audit.reader import JournalReader
from audit.segment import Link
from tests.support.busy_journal import BusyWorker

NOW = 1_790_000_000.0


def daemon_over(tmp_path: Path, interval: float = 5.0) -> Daemon:
    auditor = Auditor(tmp_path / "journal", tmp_path / "log", generate("log.example"))
    journal = Journal(tmp_path / "journal", "auditor", segment_bytes=1 << 20, segment_age=3600.0)
    return Daemon(auditor, journal, interval, records=30)


async def signed(daemon: Daemon, now: float) -> int:
    """Look once at this time; return how many leaves are signed then."""
    await daemon._step(now)
    return daemon.auditor.signed.size if daemon.auditor.signed else 0


def test_many_records_are_signed_at_once(tmp_path: Path) -> None:
    async def run() -> list[int]:
        writer = BusyWorker(tmp_path / "journal", "worker-0")
        daemon = daemon_over(tmp_path)
        found = []
        for count in (40, 10, 40):
            writer.write(count, NOW)
            found.append(await signed(daemon, 100.0))
        daemon.auditor.close()
        return found

    first, few, many = asyncio.run(run())
    assert 0 < first == few < many


def test_a_few_records_are_signed_when_the_interval_is_over(tmp_path: Path) -> None:
    async def run() -> list[int]:
        BusyWorker(tmp_path / "journal", "worker-0").write(5, NOW)
        daemon = daemon_over(tmp_path, interval=0.4)
        found = [await signed(daemon, now) for now in (100.0, 100.3, 100.4)]
        daemon.auditor.close()
        return found

    none, still, all_of_them = asyncio.run(run())
    assert none == still == 0 < all_of_them


def test_it_waits_while_much_is_remembered_for_those_who_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "_AHEAD", 0)
    monkeypatch.setattr(daemon_module, "_PATIENCE", 3600.0)
    asked = 0

    async def run() -> JournalReader:
        nonlocal asked
        BusyWorker(tmp_path / "journal", "worker-0").write(20, NOW)
        daemon = daemon_over(tmp_path)
        follower = JournalReader(tmp_path / "journal", "worker-0", recent=daemon.auditor.recent)

        def place() -> dict[str, Link]:
            nonlocal asked
            asked += 1
            if asked == 3:
                assert follower.piece() is not None
            return {"worker-0": follower.link}

        daemon.followers += (place, lambda: None)  # and one that is being begun anew, who is not waited for
        await daemon._step(100.0)
        await asyncio.wait_for(daemon._let_follow(asyncio.Event()), 30)
        daemon.auditor.close()
        return follower

    follower = asyncio.run(run())
    assert asked == 3
    assert follower.link.seq > 0


def test_it_waits_for_nobody_longer_than_its_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "_AHEAD", 0)
    monkeypatch.setattr(daemon_module, "_PATIENCE", 0.05)

    async def run() -> int:
        BusyWorker(tmp_path / "journal", "worker-0").write(20, NOW)
        daemon = daemon_over(tmp_path)
        daemon.followers.append(dict)  # one that never gets anywhere
        await daemon._step(100.0)
        await asyncio.wait_for(daemon._let_follow(asyncio.Event()), 30)
        left = daemon.auditor.recent.unread({})
        daemon.auditor.close()
        return left

    assert asyncio.run(run()) > 0


def test_bug_who_follows_slowly_held_up_the_signing_for_as_long_as_there_was_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look waited anew: what no checkpoint covered grew without bound."""
    monkeypatch.setattr(daemon_module, "_AHEAD", 0)
    monkeypatch.setattr(daemon_module, "_PATIENCE", 0.05)
    monkeypatch.setattr("audit.auditor.FULL", 1)  # every piece tells that there is more
    asked: list[int] = []

    async def run() -> None:
        writer = BusyWorker(tmp_path / "journal", "worker-0")
        daemon = daemon_over(tmp_path)

        def place() -> dict[str, Link]:
            asked[-1] += 1
            return {}

        daemon.followers.append(place)
        for look in range(4):
            writer.write(20, NOW)
            asked.append(0)
            await daemon._step(100.0 + look)
            await asyncio.wait_for(daemon._let_follow(asyncio.Event()), 30)
        await daemon._step(110.0)  # nothing new: it has caught up
        asked.append(0)
        await asyncio.wait_for(daemon._let_follow(asyncio.Event()), 30)
        daemon.auditor.close()

    asyncio.run(run())
    first, *others, caught_up = asked
    assert first > 1
    assert others == [0, 0, 0]
    assert caught_up > 1
