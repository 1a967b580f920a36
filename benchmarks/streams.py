"""An app that keeps answers and uploads open: WebSockets, server-sent events, downloads. For measuring how they end.

`python -m benchmarks.streams` prints its port and serves until it is killed. Each connection gets something a few
times a second, as busy pages do; those named `-flood` get as much as they take. `/page` is an ordinary small answer,
`/uploads` tells what came of the uploads.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

import uvloop

from gateway.edge.tunnel import accept_for

_TICK: Final = 0.02
_TICKS: Final = {b"socket": 50, b"events": 25, b"download": 12}  # between two pieces
_FRAME: Final = b"\x81\x0bstill there"
_LARGE_FRAME: Final = b"\x82\x7e\xff\x00" + b"f" * 0xFF00
_EVENT: Final = b"1a\r\ndata: something happened\n\n\r\n"
_LARGE_EVENT: Final = b"ff08\r\ndata: " + b"e" * 0xFF00 + b"\n\n\r\n"
_PIECE: Final = b"d" * 16_384
_PIECES: Final = {
    b"socket": _FRAME, b"events": _EVENT, b"download": _PIECE,
    b"socket-flood": _LARGE_FRAME * 4, b"events-flood": _LARGE_EVENT * 4, b"download-flood": _PIECE * 16,
}  # fmt: skip
_LONG: Final = 10**12
_PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


@dataclass(slots=True)
class App:
    """What is open, and what came of the uploads: by path the time of the last byte, and whether it is over."""

    streams: dict[Stream, None] = field(default_factory=dict)
    uploads: dict[str, tuple[float, bool]] = field(default_factory=dict)


class Stream(asyncio.Protocol):
    """One connection from the gateway."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._piece = b""
        self._upload = ""
        self._full = False
        self.every = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request; what a tunnel brings later is not read, of an upload the time counts."""
        if self._upload:
            self._app.uploads[self._upload] = time.time(), False
        if self._upload or self._piece or self._transport is None:
            return
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        head, self._head = self._head, b""
        path = head.split(b" ", 2)[1]
        kind = path.split(b"/")[1]
        if kind == b"page":
            self._transport.write(_PAGE)
        elif kind == b"uploads":
            body = json.dumps(self._app.uploads).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        elif kind == b"upload":
            self._upload = path.decode()
            self._app.uploads[self._upload] = time.time(), False
        else:
            self._piece, self.every = _PIECES[kind], _TICKS.get(kind, 1)
            self._transport.write(_answer(kind, head) + self._piece)
            self._app.streams[self] = None

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
        self._app.streams.pop(self, None)
        if self._upload:
            last, _ = self._app.uploads[self._upload]
            self._app.uploads[self._upload] = last, True


def _answer(kind: bytes, head: bytes) -> bytes:
    if kind.startswith(b"socket"):
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = accept_for(key.partition(b":")[2].strip())
        return b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + (
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
    if kind.startswith(b"events"):
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
    app = App()
    server = await loop.create_server(lambda: Stream(app), "127.0.0.1", 0, backlog=2048)
    _ticker(app.streams, loop)()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
