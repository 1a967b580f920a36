"""The last answer of a connection: the client gets the time to read it for as long as it reads.

Closing with bytes of the client unread, or resetting with bytes for it unsent, would throw away what is on its way
(RFC 9112 §9.6). So our side is closed first; what the client still sends is read and dropped; and the connection ends
when all was taken, or nothing was for the time that a client may take over any part of an answer.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.edge.sockets import unsent

LOOK: Final = 2.0  # seconds between two looks, and what a client that has the whole answer may take to close


class LastAnswer:
    """What is left to send on one connection."""

    __slots__ = ("_least", "_patience", "_transport", "_until")

    def __init__(self, transport: asyncio.Transport, patience: float, now: float) -> None:
        """`patience` is how many seconds may pass in which the client takes nothing."""
        self._transport = transport
        self._patience = patience
        self._until = now + patience
        self._least = -1  # bytes left when it last took something, -1 = not looked yet

    def end(self, *, eof: bool) -> None:
        """Close our side behind what was written; `eof`: the client closed its own already."""
        transport = self._transport
        if transport.is_closing():
            return
        if eof or not transport.can_write_eof():
            transport.close()
        else:
            transport.write_eof()

    def is_read(self, now: float) -> bool:
        """Whether the client still takes the answer: there is some left, and lately it took a part."""
        left = unsent(self._transport)
        if self._least < 0 or left < self._least:
            self._least, self._until = left, now + self._patience
        return left > 0 and now < self._until
