"""The client's end of a connection as a socket: what is written to it, when it is not read, how it is cut."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from gateway.edge.arriving import LEFT
from gateway.edge.draining import Unread
from gateway.edge.services import EdgeServices
from gateway.edge.sockets import reset, tune

REST: Final = 3.0  # seconds


class ClientSocket(asyncio.Protocol):
    """The transport, and what happens to it. Without one (before it is open, after its end) everything is harmless."""

    __slots__ = ("_services", "eof", "full", "guest", "held", "kept", "rested", "resting", "transport", "unread")

    def __init__(self, services: EdgeServices) -> None:
        self._services = services
        self.transport: asyncio.Transport | None = None
        self.held = False  # reading is paused
        self.resting = False  # it is, for a moment, because the client was told to come back later
        self.full = False  # the client does not take what was written
        self.kept = 0  # bytes that count for it as left to the transport
        self.unread: Unread | None = None  # looked at while it is full, and once it has the last answer
        self.rested = False  # the answer before was found taken
        self.guest = False  # its last request went to nobody but us
        self.eof = False  # the client sends no more

    def open(self, transport: asyncio.Transport) -> None:
        """Take the transport, tuned so that little is in flight (promise P3)."""
        self.transport = transport
        tune(transport)

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        if self.transport is not None:
            self.transport.write(data)

    def give_back(self) -> None:
        """Nothing is left to the transport any more."""
        LEFT.bytes -= self.kept
        self.kept = 0

    def hold(self, held: bool) -> None:
        """Stop or go on reading from the client."""
        self.held = held
        self.resting = False
        transport = self.transport
        if transport is not None and not transport.is_closing():
            if held:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def rest(self) -> None:
        """Read no more for a moment: who was told to come back later costs next to nothing until then."""
        self.hold(True)
        self.resting = True
        asyncio.get_running_loop().call_later(REST, self._rested)

    def _rested(self) -> None:
        if self.resting:  # else somebody has a reason of his own by now
            self.hold(False)

    def reads(self, now: float) -> bool:
        """Whether the client takes what was written to it, and fast enough; asked each `draining.LOOK`."""
        unread = self.unread
        if unread is None:
            if self.transport is not None:
                self.unread = Unread(self.transport, self._services, now)
            return True
        if unread.look(now):
            return True
        self._services.reached["read_min_rate"] += 1
        return False

    def close(self) -> None:
        """Close behind what was written."""
        if self.transport is not None:
            self.transport.close()

    def cut(self, loop: asyncio.AbstractEventLoop, farewell: bytes, *, gently: bool = False) -> None:
        """Reset at once: nothing more leaves, but `farewell` where the socket takes it right away.

        `gently`: nothing was taken from the client, so it may read the farewell: closed behind it, where there is one.
        """
        transport, self.transport = self.transport, None
        if transport is None:
            return
        if farewell and not transport.is_closing() and transport.get_write_buffer_size() == 0:
            transport.write(farewell)
            loop.call_soon(transport.close if gently else partial(reset, transport))
        else:
            reset(transport)
