"""The client's end of a connection as a socket: what is written to it, when it is not read, how it is cut."""

from __future__ import annotations

import asyncio

from gateway.edge.sockets import reset, tune


class ClientSocket(asyncio.Protocol):
    """The transport, and what happens to it. Without one (before it is open, after its end) everything is harmless."""

    __slots__ = ("eof", "held", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.held = False  # reading is paused
        self.eof = False  # the client sends no more

    def open(self, transport: asyncio.Transport) -> None:
        """Take the transport, tuned so that little is in flight (promise P3)."""
        self.transport = transport
        tune(transport)

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        if self.transport is not None:
            self.transport.write(data)

    def hold(self, held: bool) -> None:
        """Stop or go on reading from the client."""
        self.held = held
        transport = self.transport
        if transport is not None and not transport.is_closing():
            if held:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def close(self) -> None:
        """Close behind what was written."""
        if self.transport is not None:
            self.transport.close()

    def cut(self, loop: asyncio.AbstractEventLoop, farewell: bytes) -> None:
        """Reset at once: nothing more leaves, but `farewell` where the socket takes it right away."""
        transport, self.transport = self.transport, None
        if transport is None:
            return
        if farewell and not transport.is_closing() and transport.get_write_buffer_size() == 0:
            transport.write(farewell)
            loop.call_soon(reset, transport)
        else:
            reset(transport)
