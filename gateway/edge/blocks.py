"""Header blocks that were read before: a browser sends the same bytes with every request.

What a block means follows from its bytes alone, so a block that llhttp and the gate's rules took once is not read
again, while everything else about the request is: its line, its peer, and the judgement. Blocks that frame a body, or
ask for anything but the next request on this connection, are never remembered. A block holds the person's cookies: it
is forgotten after half a minute, and never stored or shown anywhere.
"""

from __future__ import annotations

from typing import Final

from gateway.gate.request import RequestHead

LIFETIME: Final = 30.0  # seconds
CAPACITY: Final = 1024
LONGEST: Final = 4096  # bytes
_ASKING_MORE: Final = (b"content-length", b"transfer-encoding", b"upgrade", b"expect")


class KnownBlocks:
    """The blocks that one worker has read lately, each with a head that it made: values only, never changed."""

    __slots__ = ("table",)

    def __init__(self) -> None:
        self.table: dict[bytes, RequestHead] = {}

    def __repr__(self) -> str:
        return f"<{len(self.table)} header blocks>"

    def remember(self, block: bytes, head: RequestHead) -> None:
        """Keep what `block`, from the end of the request line to the empty line, was read as."""
        if len(block) > LONGEST or head.version != "1.1" or any(name in head.find for name in _ASKING_MORE):
            return
        if len(self.table) >= CAPACITY:
            self.table.clear()
        self.table[block] = head

    def forget(self) -> None:
        """Forget all of them."""
        self.table.clear()
