"""Where bodies are read into: memory that all connections of the process fill, one after the other.

A large piece of a body is written on right from there. Most sockets take it at once: then not a byte of it was copied
by us, and the next read uses the same memory. What a transport could not send yet it still refers to (uvloop keeps a
view, TLS keeps what it has not encrypted): that memory is left to it, and reads go on in a fresh one. Whatever else
arrives is copied out before the next read.

Who does not take what is sent could make the process keep any number of pieces so. Only so many bytes are left to
transports at a time: beyond that reads are narrow, and what they bring is copied. Everybody is still served, in smaller
steps, and who takes nothing holds 4 KiB. Large reads come back with the first piece that is given back.

Towards apps the memory itself is counted. Towards clients, where TLS keeps what it made of a piece and a chunked answer
is written as a copy, each that is full counts for one read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from gateway.edge.services import EdgeLimits
from gateway.edge.sockets import READ, READ_BODY

LARGE: Final = 8192  # bytes: from here on copying costs more than to find out that it is not needed
_NARROW: Final = memoryview(bytearray(4096))  # where reads go while too much is left


class Left:
    """How many bytes are left to transports, and may be."""

    __slots__ = ("bytes", "reached", "room")

    def __init__(self, room: int, reached: Counter[str]) -> None:
        """`reached` counts under the setting's name how often reads became narrow."""
        self.bytes = 0
        self.bound(room, reached)

    def bound(self, room: int, reached: Counter[str]) -> None:
        """Set the bound, in bytes; what is left already stays, and the pieces in use may still come to it."""
        self.room = room
        self.reached = reached

    def take(self, size: int) -> int:
        """Count `size` bytes as left, as long as there is room; returns how many are to be given back."""
        size = size if self.bytes < self.room else 0
        self.bytes += size
        return size


class _Piece(bytearray):
    """Memory that is given back when the last transport has let go of it, however that comes about."""

    __slots__ = ("left",)

    left: Left | None

    def __del__(self) -> None:
        if self.left is not None:
            self.left.bytes -= len(self)


class Arriving:
    """The memory that the next read fills."""

    __slots__ = ("_counts", "_left", "_piece", "_size", "memory", "narrow")

    def __init__(self, size: int, left: Left, *, counts: bool) -> None:
        """`size`: bytes taken at once; `counts`: the memory counts as left, else whoever is full counts by itself."""
        self._size = size
        self._left = left
        self._counts = counts
        self._renew()

    def _renew(self) -> None:
        self._piece = _Piece(self._size)
        self._piece.left = None
        self.memory = memoryview(self._piece)
        self.narrow = False

    def pass_on(self, data: memoryview, to: asyncio.WriteTransport) -> None:
        """Write a part of the memory; where not everything of it was sent at once, it is left to the transport."""
        to.write(data)
        left, waits = self._left, to.get_write_buffer_size()
        if waits and self._counts:
            self._piece.left = left
            left.bytes += self._size
        if left.bytes + self._size > left.room:
            left.reached["unsent_bytes"] += 1
            self.memory, self.narrow = _NARROW, True
            del self._piece
        elif waits:
            self._renew()

    def widen(self) -> None:
        """Read large pieces again where there is room; not to be called between a read and its use."""
        if self._left.bytes + self._size <= self._left.room:
            self._renew()


LEFT: Final = Left(EdgeLimits().unsent_bytes, Counter())
FROM_APPS: Final = Arriving(READ, LEFT, counts=False)
FROM_CLIENTS: Final = Arriving(READ_BODY, LEFT, counts=True)
