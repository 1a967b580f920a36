"""Clients with one live connection each: those that read at once, and those that read slowly or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Final, cast

from tests.support.running_city import HOST

_UPGRADE: Final = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n"
)
_UPLOAD: Final = "Expect: 100-continue\r\nContent-Length: 4294967296\r\nOrigin: {origin}\r\n"
_RESET: Final = struct.pack("ii", 1, 0)
_SIP: Final = 4096  # bytes that a slow reader takes
_SIP_EACH: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ticket:
    """What opens connections: one person's session on one app host; with `tls` from a device, by its certificate."""

    session: str
    token: str
    host: str = HOST
    tls: ssl.SSLContext | None = None

    def request(self, path: str) -> bytes:
        """The head of a request for `path`, whose first word says the kind."""
        kind = path.split("/")[1].split("-", maxsplit=1)[0]
        origin = f"{'https' if self.tls else 'http'}://{self.host}"
        more = {"socket": _UPGRADE, "upload": _UPLOAD}.get(kind, "").format(origin=origin)
        method = "POST" if kind == "upload" else "GET"
        cookie = f"Cookie: __Host-sekisho-app={self.token}\r\n"
        return f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\n{cookie}{more}\r\n".encode()


class Held(asyncio.Protocol):
    """One open connection of a client that reads at once. Times in seconds since the epoch."""

    __slots__ = ("_head", "_transport", "kind", "last", "lost", "opened", "path", "received", "session", "tail")

    def __init__(self, kind: str, ticket: Ticket, path: str = "") -> None:
        self.kind = kind
        self.session = ticket.session
        self.path = path or f"/{kind}"
        self._head = ticket.request(self.path)
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.last = 0.0
        self.lost = 0.0
        self.received = 0
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        """Note when the latest byte came."""
        self.last = time.time()
        self.received += len(data)
        self.tail = data
        if not self.opened.done():
            self.opened.set_result(data[9:12])

    def connection_lost(self, error: Exception | None) -> None:
        """Note when the end came, by reset or not."""
        del error
        self.lost = time.time()
        if not self.opened.done():
            self.opened.set_result(b"")

    def send(self, data: bytes) -> None:
        """Send more, unless the connection is over."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    def leave(self) -> None:
        """Close by ourselves, with a reset: a mere half-close leaves the gateway sending until it is answered."""
        if self._transport is not None and not self.lost:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()


class Sleepy:
    """A client of a full stream that reads a little now and then, or never; its machine's buffers are the defaults.

    What it reads of a TLS connection is counted as it comes, encrypted.
    """

    def __init__(self, address: tuple[str, int], ticket: Ticket, path: str, *, reads: bool) -> None:
        self.session = ticket.session
        plain = self._asked = socket.create_connection(address, timeout=5)
        if ticket.tls is not None:
            self._asked = ticket.tls.wrap_socket(plain, server_hostname=ticket.host)
        self._asked.sendall(ticket.request(path))
        self._socket = socket.socket(fileno=os.dup(self._asked.fileno()))
        self._socket.setblocking(False)
        self._sipping = asyncio.create_task(self._sip()) if reads else None

    async def _sip(self) -> None:
        with contextlib.suppress(OSError):
            while self._taken(_SIP):  # noqa: ASYNC110  # slowness is what this is about
                await asyncio.sleep(_SIP_EACH)

    def _taken(self, most: int) -> int:
        try:
            return len(self._socket.recv(most))
        except BlockingIOError:
            return 1  # nothing there yet: the stream goes on

    async def found(self, within: float = 10.0) -> int | None:
        """Read what is left, as fast as it comes; return how many bytes that was, None = it never ended."""
        if self._sipping is not None:
            self._sipping.cancel()
        loop, found = asyncio.get_running_loop(), 0
        try:
            async with asyncio.timeout(within):
                while data := await loop.sock_recv(self._socket, 65536):
                    found += len(data)
        except TimeoutError:
            return None
        except OSError:
            pass  # the reset
        finally:
            self._socket.close()
            self._asked.close()
        return found
