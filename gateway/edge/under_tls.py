"""The socket under a client's TLS: when it is full, the connection hears of it at once (promise P3).

uvloop's TLS lets 64 KiB wait in the transport beneath before it stops writing there, and says so only once more was
encrypted: with what the kernel holds, 288 KiB could be accepted for a client that a revocation cuts. Here the transport
beneath is full with its first byte that waits, and the connection above is told in the same moment: over TLS no more is
in flight than without.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

import uvloop.loop

from gateway.edge.sockets import WRITE_HIGH, WRITE_LOW

if TYPE_CHECKING:
    from gateway.edge.connection import ClientConnection

_SSLProtocol: Final[Any] = vars(uvloop.loop)["SSLProtocol"]  # its stub leaves it out; one loop calls it by this type


class _UnderTLS(_SSLProtocol):  # type: ignore[misc]  # no stub
    """uvloop's TLS, that passes on what the transport beneath says of itself."""

    __slots__ = ("_connection", "_full")

    def __init__(self, connection: ClientConnection, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connection = connection
        self._full = False

    def above(self) -> asyncio.Transport:
        """Return the transport that the connection will see; to be called once, before the handshake is over."""
        transport: asyncio.Transport = self._get_app_transport(contextvars.copy_context())
        return transport

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin the handshake."""
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """The socket takes no more."""
        super().pause_writing()
        self._full = True
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The socket took what waited; what was encrypted meanwhile may fill it again."""
        self._full = False
        super().resume_writing()
        if self._full:
            self._connection.pause_writing()  # TLS may have told it that it can go on
        else:
            self._connection.resume_writing()


async def shake_hands(
    loop: asyncio.AbstractEventLoop, plain: socket.socket, context: ssl.SSLContext, secured: asyncio.Protocol,
    connection: ClientConnection, seconds: float,
) -> None:  # fmt: skip
    """Carry out the handshake on an accepted socket, after which `secured` has it; raises OSError where it fails.

    `connection` hears from the socket beneath. A loop that is not uvloop's has its own TLS, with its own bounds.
    """
    if not isinstance(loop, uvloop.Loop):
        await loop.connect_accepted_socket(lambda: secured, plain, ssl=context, ssl_handshake_timeout=seconds)
        return
    done: asyncio.Future[None] = loop.create_future()
    beneath = _UnderTLS(connection, loop, secured, context, done, server_side=True, ssl_handshake_timeout=seconds)
    await loop.connect_accepted_socket(lambda: beneath, plain)
    transport = beneath.above()
    try:
        await done
    except BaseException:
        transport.close()
        raise
