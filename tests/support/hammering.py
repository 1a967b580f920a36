"""One signed-in person who asks more often than the rate allows, over connections to every worker of a real stack."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from tests.support.running_city import RunningCity

_CONNECTIONS = 6
_MOST = 40  # connections until every worker has one: the kernel spreads them


@dataclass
class Hammering:
    """What the person's clients saw."""

    began: float
    passed: int = 0
    limited: int = 0
    others: list[int] = field(default_factory=list)  # statuses that are neither
    retry_after: set[str] = field(default_factory=set)
    over: bool = False

    def count(self, status: int, retry_after: str) -> None:
        self.passed += status == 200
        self.limited += status == 429
        if status == 429:
            self.retry_after.add(retry_after)
        elif status != 200:
            self.others.append(status)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    async def until(self, passed: int, within: float = 90.0) -> None:
        """Return once so many requests have passed."""
        async with asyncio.timeout(within):
            while self.passed < passed:  # noqa: ASYNC110 (counted by many tasks)
                await asyncio.sleep(0.02)


def served(city: RunningCity, verdict: str) -> list[int]:
    """How many requests each worker has such a verdict on record for."""
    return [
        sum(each.get("sekisho.verdict") == verdict for each in city.records(f"worker-{number}")) for number in range(2)
    ]


async def _ask(client: aiohttp.ClientSession, seen: Hammering) -> None:
    async with client.get("/parts") as answer:
        await answer.read()
        seen.count(answer.status, answer.headers.get("Retry-After", ""))


async def _keep_asking(city: RunningCity, client: aiohttp.ClientSession | None, seen: Hammering, pause: float) -> None:
    while not seen.over:
        if client is not None:
            await _ask(client, seen)
        else:
            async with city.client() as fresh:
                await _ask(fresh, seen)
        await asyncio.sleep(pause)


@contextlib.asynccontextmanager
async def hammering(city: RunningCity, pause: float) -> AsyncIterator[Hammering]:
    """Ask on several kept connections, at least one to each of two workers, and on a new one each time."""
    async with contextlib.AsyncExitStack() as stack:
        seen = Hammering(time.monotonic())
        clients: list[aiohttp.ClientSession] = []
        while len(clients) < _CONNECTIONS or not all(served(city, "forward")):
            assert len(clients) < _MOST
            client = await stack.enter_async_context(city.client())
            await _ask(client, seen)
            clients.append(client)
        tasks = [asyncio.create_task(_keep_asking(city, each, seen, pause)) for each in (*clients, None)]
        try:
            yield seen
        finally:
            seen.over = True  # each ends with the answer that it waits for: all that passed is counted
            await asyncio.gather(*tasks)
