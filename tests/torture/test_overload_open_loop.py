"""Far more requests than two workers can do: what is served stays near capacity, the rest is told so at once.

`OVERLOAD_SECONDS` (60) is how long. The load is wrk's with many connections, each of which asks again as soon as it is
answered: what cannot be served waits on them, and in the workers. Capacity is what few connections are served.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.edge import hello
from tests.support.running_city import HOST, RunningCity, running_city

SECONDS = int(os.environ.get("OVERLOAD_SECONDS", "60"))
FEW, MANY = 32, 4000
NO_LIMIT = '{"per_second": 1000000, "burst": 1000000}'
SETTINGS = {
    "SEKISHO_LIMITS__CONNECTIONS_PER_ADDRESS": "10000",
    "SEKISHO_LIMITS__STREAMS_PER_SESSION": "10000",  # all of them are one session's
    "SEKISHO_LIMITS__ADDRESS_RATE": NO_LIMIT,
    "SEKISHO_LIMITS__USER_RATE": NO_LIMIT,
    "SEKISHO_LIMITS__SESSION_RATE": NO_LIMIT,
}


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


async def slowest(ask: Callable[[], object], until: asyncio.Task[tuple[float, int]]) -> float:
    """Ask again and again while the load lasts; return the longest time (seconds)."""
    worst = 0.0
    while not until.done():
        begun = time.perf_counter()
        await ask()  # type: ignore[misc]
        worst = max(worst, time.perf_counter() - begun)
        await asyncio.sleep(0.5)
    return worst


@pytest.mark.timeout(1800)
@pytest.mark.one_stack
@pytest.mark.promise("P4.overload-keeps-capacity")
def test_far_more_than_capacity_leaves_capacity(tmp_path: Path, figure: Callable[[str], None]) -> None:
    async def run() -> None:
        server = await asyncio.start_server(hello, "127.0.0.1", 0)
        async with running_city(tmp_path, **SETTINGS) as city:
            await city.furnish(upstream=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            capacity, _ = await load(city, FEW, SECONDS)
            number = 0

            async def sign_in_page() -> None:
                headers = {"Host": "portal.sekisho.localhost"}
                async with city.client(signed_in=False) as client, client.get("/sign-in", headers=headers) as answer:
                    assert answer.status == 200
                    await answer.read()

            async def revoke() -> None:
                nonlocal number
                number += 1
                await city.sign_in(f"person{number}")
                begun = time.perf_counter()
                name, why = f"person{number}", "session_revoked"
                await city.steward.call(
                    "session.end", selector={"sessions": [name]}, reason=why, message="", by="test", why="test"
                )
                revocations.append(time.perf_counter() - begun)

            revocations: list[float] = []
            flood = asyncio.create_task(load(city, MANY, SECONDS))
            page, _ = await asyncio.gather(slowest(sign_in_page, flood), slowest(revoke, flood))
            goodput, refused = await flood
            server.close()
        records = city.records()
        forwarded = {each["http.request.id"] for each in records if each.get("sekisho.verdict") == "forward"}
        ended = {each["http.request.id"] for each in records if each["event.action"] == "request.completed"}
        figure(
            f"capacity {capacity:.0f} requests/s; {MANY} connections for {SECONDS} s: {goodput:.0f}/s served "
            f"({goodput / capacity:.0%}), {refused} refused; sign-in page at most {page:.2f} s, "
            f"revocation at most {max(revocations):.2f} s"
        )
        assert goodput >= 0.8 * capacity
        assert refused
        assert page < 1.0
        assert max(revocations) < 1.0
        assert ended
        assert forwarded >= ended - {each["http.request.id"] for each in records if each.get("sekisho.area")}

    asyncio.run(run())
