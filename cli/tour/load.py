"""People who go on working while something happens to the gateway or to what stands beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from cli.city.browser import Browser

_PAUSE = 0.04  # seconds between two requests of a client: six stay below the limit of one session


@dataclass(slots=True)
class Load:
    """What the clients saw. `answered` holds the ids that the app gave back."""

    answered: set[str] = field(default_factory=set)
    failed: int = 0
    over: bool = False


@asynccontextmanager
async def working(visitor: Browser, address: str, clients: int) -> AsyncIterator[Load]:
    """`clients` on one session, each asking the recording app again and again until the block ends."""
    load = Load()
    tasks = [asyncio.create_task(_work(visitor, address, load)) for _ in range(clients)]
    try:
        yield load
    finally:
        load.over = True
        await asyncio.gather(*tasks)


async def _work(visitor: Browser, address: str, load: Load) -> None:
    while not load.over:
        try:
            async with visitor.http.get(address, timeout=aiohttp.ClientTimeout(total=10)) as answer:
                name = await answer.text()
                if answer.status == 200:
                    load.answered.add(name)
                else:
                    load.failed += 1
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            load.failed += 1
        await asyncio.sleep(_PAUSE)
