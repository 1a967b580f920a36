"""Header blocks and request lines that were read before: a browser sends the same bytes with every request.

What a block means follows from its bytes alone, so a block that llhttp and the gate's rules took once is not read
again, while everything else about the request is: its line, its peer, and the judgement. Blocks that frame a body, or
ask for anything but the next request on this connection, are never remembered. A block holds the person's cookies: it
is forgotten after half a minute, and never stored or shown anywhere. A request line is kept with what it asks for, as
all who open a page ask for the same; it too is forgotten. A block that differs from one read before in a line or two is
put together from its lines (`known_fields`).
"""

from __future__ import annotations

from typing import Final

from gateway.edge.known_fields import KnownFields
from gateway.gate.request import RequestHead

LIFETIME: Final = 30.0  # seconds
CAPACITY: Final = 1024
LONGEST: Final = 4096  # bytes
LINES: Final = 2048
LONGEST_LINE: Final = 256  # bytes
_ASKING_MORE: Final = (b"content-length", b"transfer-encoding", b"upgrade", b"expect")


Asked = tuple[str, bytes, str, bytes | None, bytes]
"""What a request line asks for: method, path as sent to the app, path decoded, query without "?", the line it gets."""


class KnownBlocks:
    """What one worker, with one set of limits, has read lately: values only, never changed.

    `table` has blocks, each with a head that it made; `lines` request lines of HTTP/1.1 that are in order; `fields` the
    field lines of blocks.
    """

    __slots__ = ("fields", "lines", "table", "turn")

    def __init__(self) -> None:
        self.table: dict[bytes, RequestHead] = {}
        self.lines: dict[bytes, Asked] = {}
        self.fields = KnownFields()
        self.turn = 0  # how often all was forgotten: what a connection knows from before counts no more

    def __repr__(self) -> str:
        return f"<{len(self.table)} header blocks>"

    def remember(self, block: bytes, head: RequestHead) -> None:
        """Keep what `block`, from the end of the request line to the empty line, was read as."""
        if head.version == "1.1" and not any(name in head.find for name in _ASKING_MORE):
            self.remember_bare(block, head)

    def remember_bare(self, block: bytes, head: RequestHead) -> None:
        """Keep what a block was read as that frames no body and asks for nothing more."""
        if len(block) > LONGEST:
            return
        if len(self.table) >= CAPACITY:
            self.table.clear()
        self.table[block] = head

    def remember_line(self, line: bytes, asked: Asked) -> None:
        """Keep what a request line that is in order asks for."""
        if len(line) > LONGEST_LINE:
            return
        if len(self.lines) >= LINES:
            self.lines.clear()
        self.lines[line] = asked

    def forget(self) -> None:
        """Forget all of them."""
        self.turn += 1
        self.table.clear()
        self.lines.clear()
        self.fields.table.clear()
