"""An app that lets everybody wait: `python -m benchmarks.slow_app MILLISECONDS` prints its port and serves.

Each request is answered so many milliseconds after its head came, with the answer of the other measurements. What a
connection sends is taken for one request, as proxies send none ahead.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from benchmarks.load import ANSWER_HEAD, BODY


class Slow(asyncio.Protocol):
    """One connection from a proxy."""

    def __init__(self, delay: float) -> None:
        """`delay` is in seconds."""
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for requests."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer a head that is whole, later."""
        self._tail = (self._tail + data)[-4:]
        if self._tail == b"\r\n\r\n":
            self._tail = b""
            self._loop.call_later(self._delay, self._answer)

    def _answer(self) -> None:
        if self._transport is not None:
            self._transport.write(ANSWER_HEAD + BODY)

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever asked is gone."""
        del error
        self._transport = None


async def serve(delay: float) -> None:
    """Serve on a port of the system's choice until cancelled."""
    server = await asyncio.get_running_loop().create_server(lambda: Slow(delay), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1]) / 1000))
