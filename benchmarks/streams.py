"""An app that keeps answers open: WebSocket, server-sent events, downloads. For measuring how fast they can be ended.

`python -m benchmarks.streams` prints its port and serves until it is killed. Each connection gets something a few
times a second, as busy pages do; `/flood` gets as much as it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import uvloop

from gateway.edge.tunnel import accept_for

_TICK: Final = 0.02
_TICKS: Final = {b"/socket": 50, b"/events": 25, b"/download": 12, b"/flood": 1}  # between two pieces
_FRAME: Final = b"\x81\x0bstill there"
_EVENT: Final = b"19\r\ndata: something happened\n\n\r\n".replace(b"19", b"1a")
_PIECE: Final = b"d" * 16_384
_PIECES: Final = {b"/socket": _FRAME, b"/events": _EVENT, b"/download": _PIECE, b"/flood": _PIECE * 16}
_LONG: Final = 10**12


class Stream(asyncio.Protocol):
    """One connection from the gateway."""

    def __init__(self, streams: dict[Stream, None]) -> None:
        self._streams = streams
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._piece = b""
        self._full = False
        self.every = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the one request; what a tunnel brings later is not read."""
        if self._piece or self._transport is None:
            return
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        path = self._head.split(b" ", 2)[1]
        self._piece, self.every = _PIECES[path], _TICKS[path]
        self._transport.write(_answer(path, self._head) + self._piece)
        self._streams[self] = None

    def send(self) -> None:
        """Send one piece more, unless the last ones are still on their way."""
        if self._transport is not None and not self._full:
            self._transport.write(self._piece)

    def pause_writing(self) -> None:
        """The gateway does not take more now."""
        self._full = True

    def resume_writing(self) -> None:
        """The gateway takes more."""
        self._full = False

    def connection_lost(self, error: Exception | None) -> None:
        """The gateway ended it."""
        del error
        self._transport = None
        self._streams.pop(self, None)


def _answer(path: bytes, head: bytes) -> bytes:
    if path == b"/socket":
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = accept_for(key.partition(b":")[2].strip())
        return b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + (
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
    if path == b"/events":
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % _LONG


def _ticker(streams: dict[Stream, None], loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    tick = 0

    def send() -> None:
        nonlocal tick
        tick += 1
        for place, stream in enumerate(list(streams)):
            if (tick + place) % stream.every == 0:  # spread over the ticks, as people are
                stream.send()
        loop.call_later(_TICK, send)

    return send


async def serve() -> None:
    """Serve on a port of the system's choice until cancelled."""
    loop = asyncio.get_running_loop()
    streams: dict[Stream, None] = {}
    server = await loop.create_server(lambda: Stream(streams), "127.0.0.1", 0, backlog=2048)
    _ticker(streams, loop)()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
