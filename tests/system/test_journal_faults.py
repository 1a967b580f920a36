"""A worker whose disk fails, on the real process: it refuses and says why, still revokes, and comes back by itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.state.command import CommandRefused
from tests.support.running_city import HOST, RunningCity, running_city
from tests.support.strace import injected

WORKER = "worker-0"


async def ask(client: aiohttp.ClientSession, path: str) -> tuple[int, str, str]:
    """Ask once; return status, reason and reference number."""
    async with client.get(path, headers={"Accept": "application/json"}) as answer:
        reason = (await answer.json(content_type=None))["reason"] if answer.status == 503 else ""
        return answer.status, reason, answer.headers.get("X-Sekisho-Request-Id", "")


async def until(client: aiohttp.ClientSession, status: int, path: str, seconds: float = 60) -> tuple[int, str, str]:
    """Ask until the answer has this status."""
    end = time.monotonic() + seconds
    while (said := await ask(client, path))[0] != status:
        assert time.monotonic() < end, said
        await asyncio.sleep(0.05)
    return said


def epochs(city: RunningCity) -> dict[int, list[dict[str, Any]]]:
    """The worker's records by epoch."""
    found: dict[int, list[dict[str, Any]]] = {}
    for record in city.records(WORKER):
        found.setdefault(record["epoch"], []).append(record)
    return found


def segment(city: RunningCity) -> Path:
    """The file that the worker writes to now."""
    return max((city.root / "journal" / WORKER).glob("*"), key=lambda path: (path.stat().st_mtime, path.name))


def gap_first(city: RunningCity) -> dict[str, Any]:
    """The first record of the newest epoch, which has to be the gap."""
    first = epochs(city)[max(epochs(city))][0]
    assert first["event.action"] == "audit.gap", first
    return first


async def refused_and_back(city: RunningCity, strace: Path, fault: str) -> None:
    """One failing call: the requests of that moment are refused without a byte to the app, the next ones pass."""
    before = max(epochs(city))
    async with city.client() as client:
        reached = len(city.app.seen)
        async with injected(strace, city.pid(WORKER), fault, segment(city)):
            status, reason, _ = await ask(client, f"/{fault}")
            assert (status, reason) == (503, "journal_unhealthy"), fault
            assert len(city.app.seen) == reached
            await until(client, 200, "/again")
    assert max(epochs(city)) > before
    assert gap_first(city)["sekisho.gap.reason"]


async def stalled(city: RunningCity, strace: Path) -> None:
    """A write that hangs is refused after the stall limit, and what it still achieves reaches no app."""
    async with city.client() as client:
        reached = len(city.app.seen)
        async with injected(strace, city.pid(WORKER), "write:delay_enter=8000000:when=1", segment(city)):
            begun = time.monotonic()
            assert (await ask(client, "/stalled"))[:2] == (503, "journal_unhealthy")
            assert 1.0 <= time.monotonic() - begun < 8.0  # before the write returns
            assert (await ask(client, "/stalled"))[:2] == (503, "journal_unhealthy")
            assert len(city.app.seen) == reached
            await until(client, 200, "/again")
    assert "waiting" in gap_first(city)["sekisho.gap.reason"]


async def revokes_while_unhealthy(city: RunningCity, strace: Path) -> None:
    """No sync succeeds for a while: new requests are refused, yet a revocation ends the open tunnel."""
    token = await city.sign_in("open")
    cookie = {"Cookie": f"__Host-sekisho-app={token}"}
    async with city.client() as client:
        socket = await client.ws_connect("/socket", origin=f"http://{HOST}", headers=cookie)
        assert (await socket.receive()).data == "welcome"
        async with injected(strace, city.pid(WORKER), "fdatasync:error=EIO"):
            await until(client, 503, "/lasting")
            for _ in range(3):
                assert (await ask(client, "/lasting"))[:2] == (503, "journal_unhealthy")
            selector = {"sessions": ["open"]}
            answer = await city.steward.call(
                "session.end", selector=selector, reason="session_revoked", message="", by="ciso", why="test"
            )
            assert answer["receipt"]
            ended = await asyncio.wait_for(socket.receive(), 30)
            assert ended.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
            await counted(city)
        await until(client, 200, "/recovered")
    assert gap_first(city)["sekisho.gap.refused"] > 0


async def counted(city: RunningCity) -> None:
    """Wait until the worker has told what it refused: it reports each 4 s."""
    async with asyncio.timeout(60):
        while True:
            (worker,) = (await city.steward.call("status"))["workers"]
            if worker["counters"].get("refused_unhealthy", 0) >= 4:
                return
            await asyncio.sleep(0.1)


async def steward_ends_but_grants_nothing(city: RunningCity, strace: Path) -> None:
    """A steward that cannot record refuses every change but an end, which it says is not recorded."""
    token = await city.sign_in("last")
    async with injected(strace, city.pid("steward"), "write:error=ENOSPC"):
        for name in ("late", "later"):
            with pytest.raises(CommandRefused, match="journal_unhealthy"):
                await city.sign_in(name)
        answer = await city.steward.call(
            "session.end", selector={"sessions": ["last"]}, reason="session_revoked", message="", by="ciso", why="test"
        )
        assert answer["recorded"] is False
        assert answer["receipt"]
        async with city.client() as client:
            cookie = {"Cookie": f"__Host-sekisho-app={token}", "Accept": "application/json"}
            async with client.get("/ended", headers=cookie) as refused:
                assert refused.status == 401
    async with asyncio.timeout(60):
        while not (await city.steward.call("status"))["journal"]["healthy"]:  # noqa: ASYNC110 (health has no event)
            await asyncio.sleep(0.1)
    await city.sign_in("latest")
    assert "audit.gap" in {each["event.action"] for each in city.records("steward")}


def nothing_without_a_record(city: RunningCity) -> None:
    """Each request that the app saw has its decision."""
    decided = {record.get("http.request.id") for record in city.records(WORKER)}
    assert all(seen["X-Sekisho-Request-Id"] in decided for seen in city.app.seen)


@pytest.mark.timeout(400)
@pytest.mark.promise("P2.unhealthy-journal-refuses")
@pytest.mark.promise("P3.revokes-while-journal-unhealthy")
@pytest.mark.promise("P1.unrecorded-is-refused")
def test_a_failing_disk_refuses_and_heals(tmp_path: Path, requires_strace: Path) -> None:
    async def run() -> None:
        async with running_city(tmp_path, SEKISHO_WORKERS__COUNT="1") as city:
            await city.furnish()
            for fault in ("write:error=EIO:when=1", "write:error=ENOSPC:when=1"):
                await refused_and_back(city, requires_strace, fault)
            await stalled(city, requires_strace)
            await revokes_while_unhealthy(city, requires_strace)
            await steward_ends_but_grants_nothing(city, requires_strace)
            nothing_without_a_record(city)

    asyncio.run(run())
