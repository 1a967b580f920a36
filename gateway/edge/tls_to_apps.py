"""TLS towards an app: what the app sent before it closed its connection arrives.

uvloop's TLS hands over at once no more than the buffer takes that it is given, and the rest later: in the loop's next
turn, or when the client's slowness no longer holds it up. Where the app's end of the connection is read before that, it
throws the rest away, and an answer whose last bytes are here already would be cut. Here such an end waits for the rest.

What the end means stays the same. An answer that is not complete then is a loss; one that has no length ends with the
app's close_notify, never with the connection (RFC 8446 §6.1: whoever cuts a connection must not shorten an answer).
"""

from __future__ import annotations

import asyncio
import contextvars
import ssl
from typing import TYPE_CHECKING, Any, Final

import uvloop.loop

if TYPE_CHECKING:
    from gateway.edge.upstream import UpstreamConnection

_SSLProtocol: Final[Any] = vars(uvloop.loop)["SSLProtocol"]  # its stub leaves it out; one loop calls it by this type
_SOON: Final = 0.002  # seconds until it is looked whether the rest is handed over, doubled each time
_LATEST: Final = 0.5  # a client may take minutes; for so long at most is the socket kept behind the last byte


class _ToApp(_SSLProtocol):  # type: ignore[misc]  # no stub
    """uvloop's TLS, whose connection ends when nothing is left to hand over."""

    __slots__ = ("_connection", "_look")

    def __init__(self, connection: UpstreamConnection, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connection = connection
        self._look: asyncio.TimerHandle | None = None  # while an end waits

    def above(self) -> asyncio.Transport:
        """Return the transport that the connection sees; to be called once, when the socket is connected."""
        transport: asyncio.Transport = self._get_app_transport(contextvars.copy_context())
        return transport

    def eof_received(self) -> bool:
        """The app sends no more; returns whether the socket has to stay open for the time being."""
        if self._look is None:
            self._end(_SOON)
        return self._look is not None

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone, whoever closed it."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        super().connection_lost(error)

    def _end(self, again: float) -> None:
        """End the connection if nothing is left to hand over to somebody, else look again in so many seconds."""
        self._look = None
        connection = self._connection
        transport = connection.transport
        # No transport: the handshake is not over. No exchange: it is idle, and nobody's request may be sent on it.
        if transport is None or connection.exchange is None or transport.is_closing() or not _left(transport):
            super().eof_received()
            return
        connection.reusable = False
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(again, self._end, min(2 * again, _LATEST))


def _left(transport: asyncio.Transport) -> int:
    """Return how many bytes were received and not handed over: those still encrypted, and the rest of one record."""
    encrypted: int = transport.get_read_buffer_size()  # type: ignore[attr-defined]  # uvloop's alone
    session: ssl.SSLObject = transport.get_extra_info("ssl_object")
    return encrypted + session.pending()


async def connect(
    loop: asyncio.AbstractEventLoop, connection: UpstreamConnection, host: str, port: int, context: ssl.SSLContext
) -> None:
    """Connect to an app that has to prove, as `context` asks, that it is `host`.

    Raises OSError where it cannot be reached or the handshake fails (ssl.SSLError and CertificateError are such), and
    what the loop raises besides; how long it may take is the caller's to bound.
    A loop that is not uvloop's has its own TLS, whose ends are its own.
    """
    if not isinstance(loop, uvloop.Loop):
        await loop.create_connection(lambda: connection, host, port, ssl=context)
        return
    done: asyncio.Future[None] = loop.create_future()
    above = _ToApp(connection, loop, connection, context, done, server_hostname=host)
    await loop.create_connection(lambda: above, host, port)
    transport = above.above()
    try:
        await done
    except BaseException:
        transport.close()
        raise
