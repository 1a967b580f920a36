"""Far more requests than can be served: what is served stays near capacity, the rest is told so at once.

`OVERLOAD_SECONDS` (60) is how long. Two loads. An app that serves few at once gets five times what it can, open loop:
each request is another person's, on a connection of her own, and comes when it is due however long others wait. The
workers themselves get wrk's: 4,000 connections, each of which asks again as soon as it is answered; capacity is then
what few connections are served.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.edge import hello
from tests.support.open_loop import SlowApp, clicks
from tests.support.running_city import HOST, RunningCity, running_city

SECONDS = int(os.environ.get("OVERLOAD_SECONDS", "60"))
FEW, MANY = 32, 4000
AT_ONCE, EACH = 4, 0.04  # the app of the open loop: so many at once, so many seconds each
NO_LIMIT = '{"per_second": 1000000, "burst": 1000000}'
SETTINGS = {
    "SEKISHO_LIMITS__CONNECTIONS_PER_ADDRESS": "10000",
    "SEKISHO_LIMITS__STREAMS_PER_SESSION": "10000",  # all of them are one session's
    "SEKISHO_LIMITS__ADDRESS_RATE": NO_LIMIT,
    "SEKISHO_LIMITS__USER_RATE": NO_LIMIT,
    "SEKISHO_LIMITS__SESSION_RATE": NO_LIMIT,
}
T = TypeVar("T")


async def load(city: RunningCity, connections: int, seconds: int) -> tuple[float, int]:
    """Ask as hard as so many connections can; return the good answers a second, and how many others there were."""
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s",
        "-H", f"Host: {HOST}", "-H", f"Cookie: __Host-sekisho-app={city.token}", "-H", "Accept: application/json",
        f"{city.base}/x", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told = (await process.communicate())[0].decode()
    total, refused = re.search(r"(\d+) requests in ", told), re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    assert total is not None, told
    others = int(refused[1]) if refused is not None else 0
    return (int(total[1]) - others) / seconds, others


class Desk:
    """Who signs in, and who ends sessions, while the load lasts."""

    def __init__(self, city: RunningCity) -> None:
        self._city = city
        self.pages: list[float] = []  # seconds until a sign-in page was there
        self.revocations: list[float] = []  # seconds until a session was ended
        self._number = 0

    async def sign_in_page(self) -> None:
        """Fetch it on a connection of its own."""
        headers = {"Host": "portal.sekisho.localhost"}
        begun = time.perf_counter()
        async with self._city.client(signed_in=False) as client, client.get("/sign-in", headers=headers) as answer:
            assert answer.status == 200
            await answer.read()
        self.pages.append(time.perf_counter() - begun)

    async def revoke(self) -> None:
        """End one more person's session."""
        self._number += 1
        name = f"person{self._number}"
        await self._city.sign_in(name)
        begun = time.perf_counter()
        await self._city.steward.call(
            "session.end", selector={"sessions": [name]}, reason="session_revoked", message="", by="test", why="test"
        )
        self.revocations.append(time.perf_counter() - begun)

    async def beside(self, load: Awaitable[T]) -> T:
        """Do both again and again while the load lasts; return its result."""
        flood = asyncio.ensure_future(load)
        await asyncio.gather(self._again(self.sign_in_page, flood), self._again(self.revoke, flood))
        return await flood

    async def _again(self, act: Callable[[], Awaitable[None]], until: asyncio.Future[T]) -> None:
        while not until.done():
            await act()
            await asyncio.sleep(0.5)

    def told(self) -> str:
        """The longest of each."""
        return f"sign-in page at most {max(self.pages):.2f} s, revocation at most {max(self.revocations):.2f} s"

    def check(self) -> None:
        """Both within a second, always."""
        assert max(self.pages) < 1.0
        assert max(self.revocations) < 1.0


@pytest.mark.timeout(1800)
@pytest.mark.one_stack
@pytest.mark.promise("P4.overload-keeps-capacity")
def test_five_times_what_an_app_can_do_leaves_what_it_can_do(tmp_path: Path, figure: Callable[[str], None]) -> None:
    async def run() -> None:
        app = SlowApp(AT_ONCE, EACH)
        server = await asyncio.start_server(app.serve, "127.0.0.1", 0)
        capacity = AT_ONCE / EACH
        async with running_city(tmp_path, **SETTINGS) as city:
            await city.furnish(upstream=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            desk = Desk(city)
            begun = time.perf_counter()
            answers = await desk.beside(clicks(city, 5 * capacity, SECONDS))
            served = answers.by_status[200] / (time.perf_counter() - begun)
            records = city.records()
            server.close()
        early = sorted(answers.refused_within)
        middle, late = early[len(early) // 2], early[int(0.95 * len(early))]
        figure(
            f"open loop, {5 * capacity:.0f} requests/s for {SECONDS} s to an app that does {capacity:.0f}: "
            f"{served:.0f}/s served ({served / capacity:.0%}), {len(early)} refused within "
            f"{middle * 1e3:.0f} ms (p50), {late * 1e3:.0f} ms (p95); {desk.told()}"
        )
        assert served >= 0.8 * capacity
        assert set(answers.by_status) == {200, 503}
        assert not answers.without_time
        assert late < 1.0  # only who came before anybody knew how slow the app is waited in vain
        decided = {each["http.request.id"] for each in records if each.get("sekisho.verdict") == "forward"}
        assert app.seen
        assert decided.issuperset(app.seen)
        desk.check()

    asyncio.run(run())


@pytest.mark.timeout(1800)
@pytest.mark.one_stack
@pytest.mark.promise("P4.overload-keeps-capacity")
def test_far_more_than_capacity_leaves_capacity(tmp_path: Path, figure: Callable[[str], None]) -> None:
    async def run() -> None:
        server = await asyncio.start_server(hello, "127.0.0.1", 0)
        async with running_city(tmp_path, **SETTINGS) as city:
            await city.furnish(upstream=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            capacity, _ = await load(city, FEW, SECONDS)
            desk = Desk(city)
            goodput, refused = await desk.beside(load(city, MANY, SECONDS))
            server.close()
            records = city.records()
        forwarded = {each["http.request.id"] for each in records if each.get("sekisho.verdict") == "forward"}
        ended = {each["http.request.id"] for each in records if each["event.action"] == "request.completed"}
        figure(
            f"capacity {capacity:.0f} requests/s; {MANY} connections for {SECONDS} s: {goodput:.0f}/s served "
            f"({goodput / capacity:.0%}), {refused} refused; {desk.told()}"
        )
        assert goodput >= 0.8 * capacity
        assert refused
        desk.check()
        assert ended
        assert forwarded >= ended - {each["http.request.id"] for each in records if each.get("sekisho.area")}

    asyncio.run(run())
