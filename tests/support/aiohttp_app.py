"""A real app of aiohttp behind a bare edge, and aiohttp's client in front."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import ClientSession, web

from tests.support.edge import Edge, hello, running


@contextlib.asynccontextmanager
async def behind(app: web.Application) -> AsyncIterator[tuple[Edge, ClientSession]]:
    """A real app behind an edge, and a client in front."""
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with (
        running(hello, upstream=f"http://127.0.0.1:{runner.addresses[0][1]}") as edge,
        ClientSession(f"http://127.0.0.1:{edge.port}", headers={"Host": "app.test"}) as client,
    ):
        yield edge, client
    await runner.cleanup()
