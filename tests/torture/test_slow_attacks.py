"""slowhttptest's four modes with 500 connections each: closed within 15 s while a person is served as before."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.state.records import AppSession
from tests.support.edge import read_request
from tests.support.running_city import HOST, RunningCity, running_city

CONNECTIONS = 500
A_SECOND = 250  # connections that the tool opens
OPENING = 3  # seconds that this takes
LONGEST = 25  # seconds after which the tool gives up
OTHERS = 10  # connections that are not slow: the canary's, the tool's probe
ESTABLISHED = "01"  # tcp_states.h
LEFT_BY_ITSELF = 50  # at most: the tool drops some connections of its own
WITHIN = 15  # seconds from the last connection opened to the last one closed
MODES = {
    "headers": ["-H", "-i", "5"],
    "body": ["-B", "-i", "5", "-s", "8192"],
    "range": ["-R", "-t", "HEAD"],
    "read": ["-X", "-k", "5", "-w", "512", "-y", "1024", "-n", "5", "-z", "32"],
}
PAGE = b"x" * 200_000
SAMPLES = 500
NO_LIMIT = '{"per_second": 1000000, "burst": 1000000}'
SETTINGS = {  # what is shown is the time limits, not who else may stop such a client
    "SEKISHO_LIMITS__STREAMS_PER_SESSION": "1000",
    "SEKISHO_LIMITS__USER_RATE": NO_LIMIT,
    "SEKISHO_LIMITS__SESSION_RATE": NO_LIMIT,
}
ADDRESS = "127.0.0.1"
FLOOR = 0.02  # seconds: below this a p99 on a shared machine says nothing


async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that gives the same large page again and again."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # what is cut is cut on this side too
        while (head := (await read_request(reader))[0]) != b"":
            size = len(PAGE) if b"/large" in head else 2
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            writer.write(PAGE[:size])
            await writer.drain()
    writer.close()


async def canary(city: RunningCity, enough: Callable[[int], bool]) -> list[float]:
    """Ask as one of the staff; return how long each answer took (seconds). Every one must be an answer."""
    took: list[float] = []
    async with city.client() as client:
        while not enough(len(took)):
            begun = time.perf_counter()
            async with client.get("/small") as answer:
                assert answer.status == 200
                await answer.read()
            took.append(time.perf_counter() - begun)
            await asyncio.sleep(0.01)
    return took


def p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


async def known_by_number(city: RunningCity) -> str:
    """Sign somebody in under the address that the tool writes into its Host; return the cookie."""
    token = "n" * 43
    digest = hashlib.sha256(token.encode()).hexdigest()
    await city.sign_in("attacker")
    await city.put("app_session.start", app_session=AppSession("a2", "attacker", "docs", ADDRESS, digest, time.time()))
    return f"__Host-sekisho-app={token}"


def held_open(port: int) -> int:
    """How many connections the gateway's side of the kernel has on this port (what the tool believes is its own)."""
    table = Path("/proc/net/tcp").read_bytes()
    return len(re.findall(rb":%04X [0-9A-F]+:[0-9A-F]+ %b " % (port, ESTABLISHED.encode()), table))


async def attack(mode: str, base: str, cookie: str) -> tuple[float, int]:
    """Run the tool; return after how many seconds nearly none of its connections was open, and the most that were."""
    port, begun, ended, most = int(base.rpartition(":")[2]), time.monotonic(), 0.0, 0
    process = await asyncio.create_subprocess_exec(
        "slowhttptest", *MODES[mode], "-c", str(CONNECTIONS), "-r", str(A_SECOND), "-l", str(LONGEST), "-p", "5",
        "-u", f"{base}/large", "-j", cookie, "-v", "0",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    running = asyncio.create_task(process.wait())
    while not running.done():
        now_open = await asyncio.to_thread(held_open, port)  # the kernel takes 10 ms for it
        most = max(most, now_open)
        if now_open > OTHERS:
            ended = time.monotonic() - begun
        await asyncio.sleep(0.25)
    return ended, most


async def reached(city: RunningCity, at_least: int) -> dict[str, int]:
    """What the workers say they held back, once it is so much."""
    async with asyncio.timeout(15):
        while True:
            total: Counter[str] = Counter()
            for worker in (await city.steward.call("status"))["workers"]:
                total.update(worker["counters"].get("reached", {}))
            if sum(total.values()) >= at_least:
                return dict(total)
            await asyncio.sleep(0.5)  # workers report each few seconds


@pytest.mark.timeout(1800)
@pytest.mark.one_stack
@pytest.mark.promise("P1.slow-attacks-end-in-time")
@pytest.mark.parametrize("mode", sorted(MODES))
def test_slow_connections_end_and_nobody_notices(tmp_path: Path, mode: str, figure: Callable[[str], None]) -> None:
    async def run() -> None:
        server = await asyncio.start_server(page, "127.0.0.1", 0)
        async with running_city(tmp_path, **SETTINGS) as city:
            port = server.sockets[0].getsockname()[1]
            await city.furnish(upstream=f"http://127.0.0.1:{port}", hosts=(HOST, ADDRESS))
            cookie = await known_by_number(city)
            calm = await canary(city, lambda count: count >= SAMPLES)
            running = asyncio.create_task(attack(mode, city.base, cookie))
            busy = await canary(city, lambda count: running.done() and count >= SAMPLES)
            ended, most = await running
            counted = await reached(city, CONNECTIONS - LEFT_BY_ITSELF)
            server.close()
        figure(
            f"slowhttptest {mode}: {CONNECTIONS} connections in {OPENING} s, at most {most} at once, none left after "
            f"{ended:.1f} s; canary p99 {p99(busy) * 1e3:.1f} ms beside {p99(calm) * 1e3:.1f} ms; "
            f"counted {counted}"
        )
        assert ended <= OPENING + WITHIN
        assert p99(busy) < max(2 * p99(calm), FLOOR)

    asyncio.run(run())
