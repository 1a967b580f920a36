"""A client's connection from its first long body on: read into the shared memory, and written on from there.

The event loop makes a `bytes` of whatever comes to an ordinary protocol: of a long body each byte is copied once more,
into memory that the system has to find, and takes back. This protocol stands before the connection and spares that.
Short requests never meet it; a connection that has brought a long body keeps it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.edge.arriving import FROM_CLIENTS, LARGE

if TYPE_CHECKING:
    from gateway.edge.connection import ClientConnection

LONG: Final = 65536  # bytes of a body still to come, from which on the change of protocol pays
_HEAD: Final = memoryview(bytearray(16384))  # what comes between bodies is copied out at once


class LongBodies(asyncio.BufferedProtocol):
    """Bytes in from one client, for its connection."""

    __slots__ = ("_connection", "_into")

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._into = _HEAD

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go."""
        del sizehint
        exchange = self._connection.exchange
        self._into = FROM_CLIENTS.memory if exchange is not None and exchange.wants_bytes else _HEAD
        return self._into

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        connection = self._connection
        into, self._into = self._into, _HEAD  # a piece is free with the last who refers to it
        data = into[:nbytes]
        if into is not _HEAD and nbytes >= LARGE and not connection.buffer:
            exchange = connection.exchange
            if exchange is not None and exchange.passed_on(data):
                return
        connection.data_received(data.tobytes())
        if FROM_CLIENTS.narrow:
            FROM_CLIENTS.widen()

    def eof_received(self) -> bool:
        """The client sends no more."""
        return self._connection.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._connection.connection_lost(error)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._connection.resume_writing()
