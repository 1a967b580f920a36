"""One of an app's two servers is killed, the other one stopped, under light load (promise P2).

The servers are processes that write down what they get, the gateway is the whole one.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.agreement import compare, noted
from tests.support.ports import free_port
from tests.support.running_city import RunningCity, running_city
from tests.support.steady_load import SteadyLoad
from tests.support.steward_process import ROOT

CLIENTS = 4
WORKERS = 2
PASSED = 40  # requests that pass in each stage
SETTINGS = {
    "SEKISHO_TIMEOUTS__UPSTREAM_FIRST_BYTE": "3",
    "SEKISHO_UPSTREAMS__BREAKER_FIRST": "0.5",
    "SEKISHO_UPSTREAMS__BREAKER_LONGEST": "2",
}


class Server:
    """One process of the app, and what it wrote down."""

    def __init__(self, book: Path) -> None:
        self.book = book
        self.port = free_port()  # it is started again
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.recording_upstream", str(self.book), str(self.port), cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert int(await asyncio.wait_for(self._process.stdout.readline(), 60)) == self.port

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self) -> None:
        """Kill it and wait until it is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def seen(self) -> int:
        """Requests that it had as a whole."""
        return sum(1 for said in noted(self.book) if "whole" in said) if self.book.exists() else 0


@contextlib.asynccontextmanager
async def two_servers(folder: Path) -> AsyncIterator[tuple[RunningCity, Server, Server]]:
    """A gateway in front of an app on two servers."""
    servers = Server(folder / "first"), Server(folder / "second")
    try:
        for server in servers:
            await server.start()
        async with running_city(folder, **SETTINGS) as city:
            addresses = tuple(f"http://127.0.0.1:{server.port}" for server in servers)
            await city.furnish(upstream="", upstreams=addresses, affinity="none")
            yield city, *servers
    finally:
        for server in servers:
            await server.end()


async def until(holds: Callable[[], bool], within: float = 60.0) -> None:
    """Wait for a state that only files show."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def changes(city: RunningCity, server: Server) -> list[tuple[str, str]]:
    """The workers' records of this server's health: who, what."""
    found = [each for each in city.records("worker-?") if each["event.action"].startswith("upstream.")]
    address = f"http://127.0.0.1:{server.port}"
    assert all(each["sekisho.app.id"] == "docs" for each in found)
    return [(each["writer"], each["event.action"]) for each in found if each["sekisho.upstream.address"] == address]


async def left_alone(city: RunningCity, server: Server) -> None:
    """Wait until `status` shows that a worker leaves this server alone."""
    address = f"http://127.0.0.1:{server.port}"
    async with asyncio.timeout(60):
        while True:
            workers: list[dict[str, Any]] = (await city.steward.call("status"))["workers"]
            rows = [row for each in workers for row in each["counters"].get("upstreams", {}).get("docs", ())]
            if any(row["address"] == address and row["open"] for row in rows):
                return
            await asyncio.sleep(0.1)


@pytest.mark.promise("P2.servers-and-journal-agree")
def test_one_server_killed_and_the_other_stopped_under_light_load(tmp_path: Path) -> None:
    async def run() -> None:
        async with two_servers(tmp_path) as (city, first, second):
            load = SteadyLoad(city.status["listeners"]["loopback"], [await city.sign_in(f"p{n}") for n in range(4)])
            load.start(CLIENTS)
            await load.passed(PASSED)
            await until(lambda: first.seen() > 0 and second.seen() > 0)

            await first.end()
            await load.passed(PASSED)
            await left_alone(city, first)
            await load.passed(PASSED)
            assert set(load.gets) == {200}  # those in flight as well: no byte of an answer had come
            before = first.seen()
            await first.start()
            await until(lambda: first.seen() > before + PASSED // 4)

            second.send(signal.SIGSTOP)
            stopped = time.monotonic()
            await until(lambda: any(what == "upstream.failed" for _, what in changes(city, second)))
            await load.passed(PASSED)
            # In flight when it stopped, up to the breaker's threshold in each worker, and one for each probe: these
            # are 0.5, 1 and then 2 s apart.
            probes = WORKERS * (3 + (time.monotonic() - stopped) / 2)
            assert load.gets[504] <= CLIENTS + 2 * WORKERS + probes, load.gets
            second.send(signal.SIGCONT)
            await until(lambda: any(what == "upstream.recovered" for _, what in changes(city, second)))
            before = second.seen()
            await until(lambda: second.seen() > before + PASSED // 4)
            await load.stop()
            assert set(load.gets) <= {200, 504}, load.gets

            await city.stop()
            found = compare(noted(first.book) + noted(second.book), city.records("worker-?"), set())
            assert found.faults == ()
            assert found.seen > 4 * PASSED
            for server in (first, second):  # each change once
                for worker in ("worker-0", "worker-1"):
                    told = [what for who, what in changes(city, server) if who == worker]
                    assert told == alternating(len(told))

    asyncio.run(run())


def alternating(count: int) -> list[str]:
    """So many changes, the first one a failure."""
    return [("upstream.failed", "upstream.recovered")[number % 2] for number in range(count)]
