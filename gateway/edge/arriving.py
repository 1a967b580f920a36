"""Where apps' bytes are read into: one piece of memory for all connections of the process, one after the other.

A large piece of a body is written on right from there. Most sockets take it at once: then not a byte of it was copied
by us, and the next read uses the same memory. What a transport could not send yet it still refers to (uvloop keeps a
view, TLS keeps what it has not encrypted): that memory is left to it, and reads go on in a fresh one. Whatever else
arrives is copied out before the next read.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.edge.sockets import READ

LARGE: Final = 8192  # bytes: from here on copying costs more than to find out that it is not needed


class Arriving:
    """The memory that the next read fills."""

    __slots__ = ("memory",)

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(READ))

    def pass_on(self, data: memoryview, to: asyncio.WriteTransport) -> None:
        """Write a part of the memory; where not everything of it was sent at once, it is left to the transport."""
        to.write(data)
        if to.get_write_buffer_size():
            self.memory = memoryview(bytearray(READ))


ARRIVING: Final = Arriving()
