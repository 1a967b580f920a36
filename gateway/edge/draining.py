"""What a client has not taken yet of what was written to it: it gets the time to, for as long as it keeps a pace.

For the last answer of a connection: closing with bytes of the client unread, or resetting with bytes for it unsent,
would throw away what is on its way (RFC 9112 §9.6). So our side is closed first; what the client still sends is read
and dropped; and the connection ends when all was taken, or nothing was for too long. For every other answer: whoever
takes it too slowly holds an app's connection, or memory of the kernel, and is reset.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.edge.pace import Pace
from gateway.edge.services import EdgeServices
from gateway.edge.sockets import unsent

LOOK: Final = 2.0  # seconds between two looks, and what a client that has the whole answer may take to close


class Unread:
    """What is left to take on one connection."""

    __slots__ = ("_pace", "_transport", "left")

    def __init__(self, transport: asyncio.Transport, services: EdgeServices, now: float) -> None:
        timeouts = services.timeouts
        self._transport = transport
        self._pace = Pace(services.limits.read_min_rate, timeouts.slow_grace, timeouts.slow_grace, now)
        self.left = unsent(transport)
        """Bytes that were written and not taken, at the last look."""

    def end(self, *, eof: bool) -> None:
        """Close our side behind what was written; `eof`: the client closed its own already."""
        transport = self._transport
        if transport.is_closing():
            return
        if eof or not transport.can_write_eof():
            transport.close()
        else:
            transport.write_eof()

    def look(self, now: float) -> bool:
        """Whether the client may go on: it has taken everything, or takes it fast enough."""
        before, self.left = self.left, unsent(self._transport)
        return self._pace.moved(max(before - self.left, 0), now) or not self.left
