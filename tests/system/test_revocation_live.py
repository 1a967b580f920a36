"""Revocations as clients see them: live connections end, whoever reads or not, with a stuck worker too."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from benchmarks.crowd import Crowd, streaming_city
from benchmarks.live_clients import Held
from benchmarks.revocation import SELECTORS, Case, Figures, measure
from tests.support.cut_records import CutRecords

CONNECTIONS = 80
SLEEPY = 4
SLOWEST = 4000.0  # milliseconds; the benchmark holds the promised 100 ms, this machine may be busy
PROGRESS_EACH = 10  # seconds; the least that can be set
DISCARDED = 256 * 1024  # bytes that a client which never read may still find


async def ended(held: Held, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not held.lost:  # noqa: ASYNC110 (the protocol notes a time, it has no event)
            await asyncio.sleep(0.02)


async def all_connections_end(crowd: Crowd, selector: str) -> Figures:
    """What the clients saw end is what the receipt tells and the journals record, and everybody else goes on."""
    records = CutRecords(crowd.city.root / "journal")
    figures = await measure(crowd, Case(selector, CONNECTIONS, SLEEPY), f"leaving-{selector}")
    assert figures.cut == figures.told == figures.connections
    assert len(figures.by_worker) == 2
    assert len(figures.by_kind) == 4
    assert figures.fenced == ()
    assert figures.survivors == figures.strangers
    assert figures.end_p99 < SLOWEST
    assert figures.left[0]  # what never read had a full stream
    assert all(found is not None and found <= DISCARDED for found in figures.left)
    await records.agree_with(figures)
    return figures


async def stuck_worker_is_fenced(crowd: Crowd) -> None:
    """A worker that cannot answer is killed; its connections die with it and the receipt says so."""
    city = crowd.city
    held = await crowd.open(24, "stuck", per_session=4)
    pid = city.pid("worker-1")
    os.kill(pid, signal.SIGSTOP)
    receipt = await crowd.revoke(group="stuck")
    assert receipt.fenced == ("worker-1",)
    assert set(receipt.closed) <= {"worker-0"}
    assert 0 < sum(receipt.closed.values()) < len(held)
    for each in held:
        await ended(each, 30)
    fenced = [each for each in city.records("supervisor") if each["event.action"] == "worker.fenced"]
    assert [(each["sekisho.worker"], each["process.pid"]) for each in fenced] == [("worker-1", pid)]
    await city.back("worker-1", pid)


async def drained_worker_says_goodbye(crowd: Crowd) -> None:
    """Tunnels that are left when a worker stops are told that it is a restart (RFC 6455 §11.7: 1012)."""
    ticket = await crowd.ticket(await crowd.person())
    sockets = [await crowd.one("socket", ticket) for _ in range(8)]
    for each in sockets:
        assert await asyncio.wait_for(each.opened, 30) == b"101"
    os.kill(crowd.city.status["pid"], signal.SIGTERM)
    for each in sockets:
        await ended(each, 60)
        frame = each.tail[each.tail.rindex(b"\x88") :]
        assert frame[2:].startswith(b"\x03\xf4gateway_restarting ")
        assert len(frame) == 2 + frame[1]


async def what_lives_on_is_told_of(crowd: Crowd, name: str) -> None:
    """A worker records, at the interval that is set, how far an open tunnel is."""
    async with asyncio.timeout(60):
        while True:
            told = [each for each in crowd.city.records() if each["event.action"] == "tunnel.progress"]
            if mine := [each for each in told if each["user.id"] == name]:
                break
            await asyncio.sleep(0.2)  # the journal is all there is to look at
    assert mine[0]["event.duration"] >= PROGRESS_EACH * 1e9


@pytest.mark.timeout(400)
@pytest.mark.promise("P3.clients-see-the-end")
@pytest.mark.promise("P3.little-after-the-cut")
@pytest.mark.promise("P3.cuts-on-record")
@pytest.mark.promise("P3.stuck-worker-fenced")
def test_revocations_as_clients_see_them(tmp_path: Path) -> None:
    settings = {"SEKISHO_JOURNAL__PROGRESS_EACH": str(PROGRESS_EACH), "SEKISHO_SESSIONS__CONCURRENT": "20"}

    async def run() -> None:
        async with streaming_city(tmp_path, **settings) as crowd:
            *named, app, everybody = SELECTORS
            for selector in (app, everybody):
                await all_connections_end(crowd, selector)
            lasting = await crowd.one("socket", await crowd.ticket(person := await crowd.person()))
            for selector in named:
                await all_connections_end(crowd, selector)
            await what_lives_on_is_told_of(crowd, person.id)
            lasting.leave()
            await stuck_worker_is_fenced(crowd)
            await drained_worker_says_goodbye(crowd)

    asyncio.run(run())
