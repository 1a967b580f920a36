"""A whole gateway on a disk that fills: who is still served at each step, and that all of it comes back by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.gate_world import PORTAL
from tests.support.running_city import HOST, RunningCity, running_city
from tests.support.small_disk import SmallDisk, small_disk

SIZE = "256m"
PATIENCE = 60.0  # seconds


async def ask(client: aiohttp.ClientSession, path: str, **headers: str) -> int:
    """Ask once; return the status."""
    async with client.get(path, headers={"Accept": "application/json", **headers}, allow_redirects=False) as answer:
        await answer.read()
        return answer.status


async def until(client: aiohttp.ClientSession, path: str, status: int, **headers: str) -> None:
    """Ask until the answer has this status: each journal looks at the disk once a second."""
    async with asyncio.timeout(PATIENCE):
        while await ask(client, path, **headers) != status:  # noqa: ASYNC110 (another process: nothing to await)
            await asyncio.sleep(0.1)


def counted(city: RunningCity) -> int:
    """How many requests of strangers are recorded one by one."""
    return sum(each["event.action"] == "request.decided" for each in city.records("worker-0.anonymous"))


async def recorded(city: RunningCity, action: str, limited: list[str]) -> None:
    """Wait until the supervisor has recorded this about the disk."""

    def found() -> list[tuple[str, object]]:
        return [(each["event.action"], each.get("sekisho.disk.limited")) for each in city.records("supervisor")]

    async with asyncio.timeout(PATIENCE):
        while (action, limited) not in found():  # noqa: ASYNC110 (another process's file: nothing to await)
            await asyncio.sleep(0.1)


async def strangers_are_only_counted(city: RunningCity, disk: SmallDisk) -> None:
    """Below the first floor nothing changes for anybody, but strangers get no records of their own."""
    disk.leave(9)
    await recorded(city, "disk.filling", ["strangers"])
    async with city.client(signed_in=False) as stranger, city.client() as staff:
        async with asyncio.timeout(PATIENCE):  # the worker's journal looks at the disk by itself
            before = -1
            while counted(city) != before:
                await asyncio.sleep(0.2)
                before = counted(city)
                assert await ask(stranger, "/stranger") == 401
        for number in range(20):
            assert await ask(stranger, f"/stranger-{number}") == 401
        assert await ask(stranger, "/sign-in", Host=PORTAL, Accept="text/html") == 200
        assert await ask(staff, "/staff") == 200
    assert counted(city) == before


async def staff_are_refused_but_sign_in_and_revocation_go_on(city: RunningCity, disk: SmallDisk) -> None:
    """Below the second floor no app is reached; people still sign in, and sessions are still ended."""
    token = await city.sign_in("open")
    async with city.client() as staff, city.client(signed_in=False) as stranger:
        cookie = {"Cookie": f"__Host-sekisho-app={token}"}
        socket = await staff.ws_connect("/socket", origin=f"http://{HOST}", headers=cookie)
        assert (await socket.receive()).data == "welcome"
        disk.leave(4)
        await until(staff, "/refused", 503)
        reached = len(city.app.seen)
        async with staff.get("/refused", headers={"Accept": "application/json"}) as answer:
            told: dict[str, Any] = await answer.json(content_type=None)
        assert (answer.status, told["reason"]) == (503, "journal_unhealthy")
        assert len(city.app.seen) == reached
        assert await ask(stranger, "/sign-in", Host=PORTAL, Accept="text/html") == 200
        own = {"Cookie": f"__Host-sekisho={city.portal_token}"}
        assert await ask(stranger, "/", Host=PORTAL, Accept="text/html", **own) == 200
        answer_of = await city.steward.call(
            "session.end", selector={"sessions": ["open"]}, reason="session_revoked", message="", by="ciso", why="test"
        )
        assert "recorded" not in answer_of  # else: that it is not
        ended = await asyncio.wait_for(socket.receive(), 30)
        assert ended.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}


async def sign_in_is_refused_but_revocation_goes_on(city: RunningCity, disk: SmallDisk) -> None:
    """Below the third floor nobody gets in any more, and what must still end can be ended, on record."""
    await city.sign_in("last")
    disk.leave(2)
    async with city.client(signed_in=False) as stranger:
        await until(stranger, "/sign-in", 503, Host=PORTAL, Accept="text/html")
    answer = await city.steward.call(
        "session.end", selector={"sessions": ["last"]}, reason="session_revoked", message="", by="ciso", why="test"
    )
    assert "recorded" not in answer


async def all_comes_back(city: RunningCity, disk: SmallDisk) -> None:
    """With room again everybody is served, and the journals say whom they refused."""
    disk.leave(60)
    async with city.client() as staff, city.client(signed_in=False) as stranger:
        await until(staff, "/back", 200)
        await until(stranger, "/sign-in", 200, Host=PORTAL, Accept="text/html")
    await recorded(city, "disk.recovered", [])
    gaps = [each for each in city.records("worker-0") if each["event.action"] == "audit.gap"]
    assert gaps
    assert all(gap["sekisho.gap.reason"].startswith("disk reserve") and gap["sekisho.gap.refused"] for gap in gaps)
    assert {each["epoch"] for each in city.records("worker-0")} == {1}  # no write failed
    decided = {record.get("http.request.id") for record in city.records("worker-0")}
    assert all(seen["X-Sekisho-Request-Id"] in decided for seen in city.app.seen)


@pytest.mark.timeout(300)
@pytest.mark.promise("P2.disk-reserve-refuses-in-order")
@pytest.mark.promise("P2.disk-recovers")
def test_a_filling_disk_stops_strangers_records_then_staff_then_sign_in_and_all_come_back(tmp_path: Path) -> None:
    async def run() -> None:
        with small_disk(tmp_path / "disk", SIZE) as disk:
            async with running_city(disk.folder, SEKISHO_WORKERS__COUNT="1") as city:
                await city.furnish()
                await strangers_are_only_counted(city, disk)
                await staff_are_refused_but_sign_in_and_revocation_go_on(city, disk)
                await sign_in_is_refused_but_revocation_goes_on(city, disk)
                await all_comes_back(city, disk)

    asyncio.run(run())
