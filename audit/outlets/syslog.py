"""Documents to a syslog receiver over TLS (RFC 5425): at least once, each with its `event.id`.

Syslog has no word of receipt. So a portion counts as sent when the receiver's machine has acknowledged its last byte
(tcp(7), SIOCOUTQ), and stays in doubt `doubt` seconds more: a connection that ends in that time means sending again.
What a receiver loses after that, syslog cannot tell; Elasticsearch or the file can.

Blocking calls in a thread of its own: a receiver that is slow or dead holds up nobody else.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audit.documents import Document
from audit.outlets.follow import OutletUnavailable
from audit.outlets.message import frame

PORT: Final = 6514  # syslog-tls, RFC 5425 §4.1
TIMEOUT: Final = 20.0  # seconds for one step of the connection
_PIECE: Final = 64 * 1024  # bytes written at once
_LOOK: Final = 0.01  # seconds between looks whether everything was acknowledged


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where it is, who must have signed its certificate, and who we are there (both files or none)."""

    host: str
    port: int
    ca: Path
    server_name: str = ""  # name in its certificate, "" = `host`
    certificate: Path | None = None
    key: Path | None = None


class SyslogTls:
    """The outlet `syslog`. Its place needs no mark."""

    name = "syslog"
    doubt = 2.0

    def __init__(self, receiver: Receiver, timeout: float = TIMEOUT) -> None:
        self._receiver, self._timeout = receiver, timeout
        self._host = socket.gethostname()
        self._socket: ssl.SSLSocket | None = None
        self._thread = ThreadPoolExecutor(1, "syslog")

    async def open(self, mark: Mapping[str, int]) -> Mapping[str, int]:
        """Connect anew."""
        self._drop()
        await self._call(self._connect)
        return mark

    async def send(self, documents: Sequence[Document]) -> Mapping[str, int]:
        """Send one message a document; returns when the receiver's machine has them."""
        await self._call(self._send, documents)
        return {}

    async def check(self) -> None:
        """Raise OutletUnavailable where the receiver ended the connection."""
        await self._call(self._look)

    async def turn(self) -> None:
        """Notice early that the receiver left, so that the next record need not."""
        await self._call(self._look)

    async def close(self) -> None:
        """Let go; a call that waits ends with a fault."""
        self._drop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _call(self, what: Callable[..., None], *given: object) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, what, *given)
        except ssl.SSLError as error:
            raise OutletUnavailable(f"{self._receiver.host}: TLS: {error.reason or error}") from None
        except OSError as error:
            raise OutletUnavailable(f"{self._receiver.host}: {error.strerror or error}") from None

    # -- in the thread --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        receiver = self._receiver
        context = ssl.create_default_context(cafile=str(receiver.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if receiver.certificate is not None:
            context.load_cert_chain(receiver.certificate, receiver.key)
        plain = socket.create_connection((receiver.host, receiver.port), self._timeout)
        try:
            self._socket = context.wrap_socket(plain, server_hostname=receiver.server_name or receiver.host)
        except OSError:
            plain.close()
            raise

    def _send(self, documents: Sequence[Document]) -> None:
        connection = self._open()
        data = memoryview(b"".join(frame(document, self._host) for document in documents))
        for start in range(0, len(data), _PIECE):  # each piece has its time: a slow line is no dead one
            connection.sendall(data[start : start + _PIECE])
        left, until = _unacknowledged(connection), time.monotonic() + self._timeout
        while left:
            time.sleep(_LOOK)
            before, left = left, _unacknowledged(connection)
            if left < before:
                until = time.monotonic() + self._timeout
            elif time.monotonic() > until:
                raise TimeoutError(f"nothing acknowledged for {self._timeout:.0f} s")
        self._look()

    def _look(self) -> None:
        connection = self._open()
        connection.settimeout(0)
        try:
            if not connection.recv(1):
                raise ConnectionResetError("the receiver ended the connection")
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        finally:
            connection.settimeout(self._timeout)

    def _open(self) -> ssl.SSLSocket:
        if self._socket is None:
            raise ConnectionError("not connected")
        return self._socket

    def _drop(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _unacknowledged(connection: socket.socket) -> int:
    """Return the bytes that the peer's machine has not acknowledged (tcp(7), SIOCOUTQ)."""
    (count,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))
    return int(count)
