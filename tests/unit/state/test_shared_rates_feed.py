"""Rates shared over the real feed: the steward's end and workers' ends on a unix socket, in one loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.gate.leased import LeasedBuckets
from gateway.gate.limits import Rate
from gateway.leasing import Leasing
from gateway.state import wire
from gateway.state.broadcast import Broadcast
from gateway.state.feed import FeedClient
from gateway.state.leases import Leases
from gateway.state.tables import Tables
from gateway.state.view import View

RATE = Rate(0.001, 40)  # nothing comes in again while a test runs


@dataclass
class Machine:
    """A steward's end that can go and come back, and two workers."""

    path: Path
    clients: list[FeedClient] = field(default_factory=list)
    buckets: list[LeasedBuckets] = field(default_factory=list)
    leasing: list[Leasing] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    server: asyncio.Server | None = None
    broadcast: Broadcast | None = None

    async def steward(self) -> None:
        leases = Leases({"session": RATE}, 2, 100)
        self.broadcast = Broadcast(Tables(), ack_limit=30.0, fence=_nobody, used=lambda _used: None, leases=leases)
        self.server = await self.broadcast.serve(self.path)

    async def worker(self) -> None:
        client = FeedClient(self.path, f"worker-{len(self.clients)}", View(), lambda _change: {})
        mine = LeasedBuckets(RATE, 2, 100)
        client.rates = Leasing({"session": mine}, client.say, asyncio.get_running_loop())
        self.clients.append(client)
        self.buckets.append(mine)
        self.leasing.append(client.rates)
        self.tasks.append(asyncio.create_task(client.run()))
        await client.counted.wait()

    def take(self, worker: int, times: int = 1) -> int:
        """How many of so many requests pass at a worker now."""
        now = asyncio.get_running_loop().time()
        return sum(self.buckets[worker].take("s1", now) == 0 for _ in range(times))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 (what a worker holds has no event)
                await asyncio.sleep(0.005)


async def _nobody(_name: str, _pid: int) -> None:
    return


@contextlib.asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[Machine]:
    made = Machine(folder / "feed.sock")
    await made.steward()
    try:
        await made.worker()
        await made.worker()
        yield made
    finally:
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        if made.server is not None:
            made.server.close()


def run(folder: Path, body: Callable[[Machine], Awaitable[None]]) -> None:
    async def main() -> None:
        async with machine(folder) as made:
            await body(made)

    asyncio.run(main())


@pytest.mark.promise("P1.rates-hold-over-workers")
def test_what_one_worker_does_not_use_the_other_gets(tmp_path: Path) -> None:
    async def body(made: Machine) -> None:
        assert made.take(0, 100) == 20  # its part, before anybody has heard of it
        passed = 20

        async def more() -> int:
            await asyncio.sleep(0.01)
            return made.take(0)

        async with asyncio.timeout(20):
            while passed < 35:
                passed += await more()
        await made.until(lambda: made.leasing[1].held == 1)
        async with asyncio.timeout(20):
            while passed < 39:
                passed += await more() + made.take(1)
        for _ in range(30):
            passed += await more() + made.take(1)
        assert passed <= 42
        assert made.broadcast is not None
        assert made.broadcast.shared_rates() == {"names": 1, "crowded": 0}

    run(tmp_path, body)


@pytest.mark.promise("P1.rates-hold-without-steward")
def test_a_steward_that_goes_opens_nothing_and_the_next_one_is_told(tmp_path: Path) -> None:
    async def body(made: Machine) -> None:
        passed = made.take(0, 15) + made.take(1, 15)
        await made.until(lambda: [each.held for each in made.leasing] == [1, 1])
        assert made.server is not None
        made.server.close()
        for client in made.clients:
            assert client._writer is not None
            client._writer.transport.abort()
        await made.until(lambda: [each.held for each in made.leasing] == [0, 0])
        passed += made.take(0, 50) + made.take(1, 50)
        assert passed <= 40
        await made.steward()
        await made.until(lambda: all(client._writer is not None for client in made.clients))
        passed += made.take(0, 50) + made.take(1, 50)
        await made.until(lambda: [each.held for each in made.leasing] == [1, 1])
        async with asyncio.timeout(20):
            while passed < 36:
                await asyncio.sleep(0.01)
                passed += made.take(0) + made.take(1)
        for _ in range(30):
            await asyncio.sleep(0.01)
            passed += made.take(0) + made.take(1)
        assert passed <= 42

    run(tmp_path, body)


@pytest.mark.parametrize(
    "message",
    [{"t": "want"}, {"t": "want", "of": [["session", "s1"]]}, {"t": "want", "of": [["nothing", "s1", 1, 1]]},
     {"t": "want", "of": [["session", "s1", "many", 1]]}, {"t": "want", "of": 7}],
    ids=str,
)  # fmt: skip
def test_a_report_that_is_none_ends_the_connection_only(tmp_path: Path, message: wire.Message) -> None:
    async def body(made: Machine) -> None:
        reader, writer = await asyncio.open_unix_connection(str(made.path))
        writer.write(wire.encode({"t": "hello", "v": 1, "worker": "worker-9", "pid": os.getpid()}))
        writer.write(wire.encode(message))
        async with asyncio.timeout(30):
            while await reader.read(65_536):
                pass
        writer.close()
        assert made.take(0, 100) == 20

    run(tmp_path, body)
