"""Time and freshness with real processes: a silent steward refuses, then ends; a set clock never lengthens anything."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.state.command import CommandRefused
from tests.support.other_clock import MODULE, set_clock
from tests.support.patience import EXACT
from tests.support.running_city import HOST, RunningCity, running_city

JSON = {"Accept": "application/json"}


async def ask(city: RunningCity, token: str = "") -> tuple[int, str]:
    """Ask once on a new connection; return status and, of refusals, the reason."""
    headers = JSON | ({"Cookie": f"__Host-sekisho-app={token}"} if token else {})
    async with city.client() as client, client.get("/now", headers=headers) as answer:
        if answer.status == 200:
            return 200, ""
        return answer.status, (await answer.json(content_type=None))["reason"]


async def until(wanted: tuple[int, str], look: Callable[[], Awaitable[tuple[int, str]]], seconds: float) -> float:
    """Look until it is as wanted; return how long that took."""
    begun = time.monotonic()
    while (said := await look()) != wanted:
        assert time.monotonic() - begun < seconds, said
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


async def open_socket(client: aiohttp.ClientSession, token: str) -> aiohttp.ClientWebSocketResponse:
    cookie = {"Cookie": f"__Host-sekisho-app={token}"}
    socket = await client.ws_connect("/socket", origin=f"http://{HOST}", headers=cookie)
    assert (await asyncio.wait_for(socket.receive(), 30)).data == "welcome"
    return socket


async def ended(socket: aiohttp.ClientWebSocketResponse, seconds: float) -> float:
    """Wait for the end of a socket; return how long it took."""
    begun = time.monotonic()
    message = await asyncio.wait_for(socket.receive(), seconds)
    assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    return time.monotonic() - begun


async def heartbeat_needs_the_store(city: RunningCity) -> None:
    """While the store takes no writes the steward does not beat, so the workers refuse; then all is well again."""
    store = sqlite3.connect(city.root / "state" / "sekisho.db", isolation_level=None)
    store.execute("BEGIN IMMEDIATE")
    try:
        took = await until((503, "state_stale"), lambda: ask(city), 60)
        assert took > 1  # 5 s less the age of the last beat, which a busy machine makes late
    finally:
        store.execute("ROLLBACK")
        store.close()
    await until((200, ""), lambda: ask(city), 60)


async def stopped_steward(city: RunningCity) -> None:
    """No heartbeat: refused from 5 s on, live connections end at 30 s, SIGCONT heals."""
    async with city.client() as client:
        socket = await open_socket(client, city.token)
        pid = city.pid("steward")
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        try:
            refused = await until((503, "state_stale"), lambda: ask(city), 25)
            await ended(socket, 90)
            cut = time.monotonic() - begun
        finally:
            os.kill(pid, signal.SIGCONT)
        # 5 s and 30 s from the last beat, which a busy machine makes late; so it does the looks of this test.
        assert 1 < refused < 20
        assert 26 < cut < 60
    await until((200, ""), lambda: ask(city), 60)
    assert last_completion(city)["sekisho.reason"] == "state_stale"


def last_completion(city: RunningCity) -> dict[str, Any]:
    found = [each for each in city.completed("worker-0") if each["url.path"] == "/socket"]
    return max(found, key=lambda each: str(each["@timestamp"]))


async def clock(city: RunningCity) -> dict[str, Any]:
    """What the steward says of its clock."""
    found: dict[str, Any] = (await city.steward.call("status"))["clock"]
    return found


async def jumped(city: RunningCity, expected: bool) -> None:
    async with asyncio.timeout(30):
        while (await clock(city))["jumped"] is not expected:  # noqa: ASYNC110 (a clock has no event)
            await asyncio.sleep(0.1)


async def gone(city: RunningCity) -> tuple[str, str]:
    """The tokens of two people whose sessions are over, one by an operator and one by time."""
    revoked = await city.sign_in("revoked")
    await city.steward.call(
        "session.end", selector={"user": "revoked"}, reason="session_revoked", message="", by="ciso", why="x"
    )
    expired = await city.sign_in("expired", expires_at=(await clock(city))["now"] + 4)
    await until((401, "session_revoked"), lambda: ask(city, revoked), 60)
    await until((401, "session_expired"), lambda: ask(city, expired), 60)
    return revoked, expired


async def none_is_back(city: RunningCity, over: tuple[str, str]) -> None:
    """Both are told to sign in, or that nobody can at the moment; why is known until the end of the session's time."""
    for token in over:
        assert await ask(city, token) in {
            (401, "session_revoked"), (401, "session_expired"), (401, "sign_in_required"), (503, "state_stale"),
        }  # fmt: skip


async def clock_set_back(city: RunningCity, over: tuple[str, str]) -> None:
    """An hour or a year back: time goes on as before, and what begins meanwhile ends when it has to."""
    for offset in ("-1h", "-365d"):
        before = (await clock(city))["now"]
        set_clock(city.root, offset)
        await asyncio.sleep(1.2)
        assert before <= (await clock(city))["now"] < before + 60
        assert await ask(city) == (200, "")
        await none_is_back(city, over)
    brief = await city.sign_in("begun", expires_at=(await clock(city))["now"] + 4)
    await until((401, "session_expired"), lambda: ask(city, brief), 60)
    set_clock(city.root, "+0")


async def clock_set_ahead(city: RunningCity, over: tuple[str, str]) -> None:
    """An hour or a year ahead is not believed, and nobody is served until it is set right or accepted."""
    for offset in ("+1h", "+365d"):
        before = (await clock(city))["now"]
        set_clock(city.root, offset)
        await until((503, "state_stale"), lambda: ask(city), 60)
        assert (await clock(city))["now"] < before + 60
        pid = city.pid("steward")
        os.kill(pid, signal.SIGKILL)  # a new steward believes it no more than the old one
        await city.back("steward", pid)
        await jumped(city, True)
        assert (await ask(city))[0] == 503
        await none_is_back(city, over)
        set_clock(city.root, "+0")
        await jumped(city, False)
        await until((200, ""), lambda: ask(city), 60)
        await none_is_back(city, over)


async def accepted_clock_ends_what_is_over(city: RunningCity) -> None:
    """With the operator's word the hour has passed: idle sessions end as events, live, and stay ended afterwards."""
    async with city.client() as client:
        socket = await open_socket(client, city.token)
        set_clock(city.root, "+1h")
        await jumped(city, True)
        answer = await city.steward.call("clock.accept", by="ciso", reason="NTP を直した")
        assert 3500 < answer["leap"] < 3700
        await city.back("steward", await city.kill("steward"))  # what was accepted is kept by then
        assert not (await clock(city))["jumped"]
        await ended(socket, 60)
        await until((401, "session_idle"), lambda: ask(city), 60)
    set_clock(city.root, "+0")
    await asyncio.sleep(1.5)
    assert await ask(city) == (401, "session_idle")
    actions = [each["event.action"] for each in city.records("steward")]
    assert {"clock.jumped", "clock.accepted", "session.ended"} <= set(actions)


async def end_survives_at_once(city: RunningCity) -> None:
    """The steward is killed the moment it answered: the session stays ended in every worker, old or new."""
    token = await city.sign_in("brief")
    await until((200, ""), lambda: ask(city, token), 60)
    pid = city.pid("steward")
    selector = {"sessions": ["brief"]}
    await city.steward.call("session.end", selector=selector, reason="session_revoked", message="", by="ciso", why="x")
    os.kill(pid, signal.SIGKILL)
    assert await ask(city, token) == (401, "session_revoked")
    await city.back("steward", pid)
    worker = city.pid("worker-0")
    os.kill(worker, signal.SIGKILL)
    await city.back("worker-0", worker)
    assert await ask(city, token) == (401, "session_revoked")
    with pytest.raises(CommandRefused):
        await city.steward.call(
            "session.elevate", id="brief", token_hash="0" * 64, amr=[], acr="", mfa_method="", mfa_at=0
        )


@pytest.mark.timeout(500)
@pytest.mark.promise("P1.stale-state-ends-live")
@pytest.mark.promise("P1.no-heartbeat-without-store")
@pytest.mark.promise("P1.clock-never-extends")
@pytest.mark.promise("P3.end-survives-kill")
def test_time_and_freshness(tmp_path: Path, requires_faketime: Path) -> None:
    del requires_faketime

    async def run() -> None:
        async with running_city(tmp_path, module=MODULE, SEKISHO_WORKERS__COUNT="1", **EXACT) as city:
            await city.furnish()
            await end_survives_at_once(city)
            over = await gone(city)
            await clock_set_back(city, over)
            await clock_set_ahead(city, over)
            await heartbeat_needs_the_store(city)
            await stopped_steward(city)
            await accepted_clock_ends_what_is_over(city)
            await none_is_back(city, over)
            started.update(each["process.pid"] for each in city.records("supervisor") if "process.pid" in each)

    started: set[int] = set()
    asyncio.run(run())
    assert not [pid for pid in started if Path(f"/dev/shm/faketime_shm_{pid}").exists()]
