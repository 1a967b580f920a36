"""Where a message body ends: counted or chunked (RFC 9112 §6–7), for both legs.

The body is never given to llhttp: a length that is known needs no parser, and llhttp would let chunk extensions and
trailers pass unseen. A reader takes what arrived and returns (payload, rest); the rest belongs to the next message.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
_LENIENT_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")  # RFC 9112 §7.1.2
_LINE: Final = 1024
_TRAILERS: Final = 8192
_SMALL_CHUNKS: Final = 4096


class FramingFault(Exception):
    """The body's framing is broken or not allowed."""


class BodyReader(Protocol):
    """Reads one body."""

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return (payload, bytes after the body's end); raises FramingFault."""


class Counted:
    """A body of known length."""

    __slots__ = ("done", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return (payload, rest)."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return data, b""
        left = self.left
        self.left = 0
        self.done = True
        return (data, b"") if size == left else (data[:left], data[left:])

    def took(self, size: int) -> bool:
        """Count bytes that go on unread, no more than are left; returns `done`."""
        self.left -= size
        self.done = self.left == 0
        return self.done


class UntilClose:
    """An answer that ends with its connection (RFC 9112 §6.3, rule 8)."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return everything as payload."""
        return data, b""


class Chunked:
    """A chunked body.

    Strict (requests): no extensions, no trailers, and not thousands of tiny chunks. Lenient (answers of old apps):
    extensions and trailers are read within bounds and dropped; the client never sees them, as we chunk anew.
    """

    __slots__ = ("_buffer", "_chunks", "_ending", "_left", "_payload", "_strict", "_trailers", "done")

    def __init__(self, *, strict: bool) -> None:
        self.done = False
        self._strict = strict
        self._buffer = b""
        self._left = 0  # bytes of the current chunk still to come, its CRLF included
        self._ending = False  # the last chunk was seen
        self._chunks = 0
        self._payload = 0
        self._trailers = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return (payload, rest)."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        parts: list[bytes] = []
        position = 0
        while not self.done:
            if self._left:
                position = self._chunk(data, position, parts)
                if self._left:
                    break
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                break
            if end - position > _LINE:
                raise FramingFault("chunk line too long")
            self._line(data[position:end])
            position = end + 2
        if self.done:
            return b"".join(parts), data[position:]
        self._buffer = data[position:]
        if not self._left and self._buffer:
            self._check_partial(self._buffer)
        return b"".join(parts), b""

    def _chunk(self, data: bytes, position: int, parts: list[bytes]) -> int:
        """Take what there is of the current chunk and of its CRLF; return the new position."""
        available = len(data) - position
        payload = self._left - 2
        if payload > 0:
            taken = min(payload, available)
            parts.append(data[position : position + taken])
            self._payload += taken
            self._left -= taken
            position += taken
            available -= taken
        if self._left == 2 and available >= 2:
            if data[position : position + 2] != b"\r\n":
                raise FramingFault("chunk does not end where its size says")
            self._left = 0
            position += 2
        elif self._left == 2 and available == 1 and data[position : position + 1] != b"\r":
            raise FramingFault("chunk does not end where its size says")
        return position

    def _line(self, line: bytes) -> None:
        """Read a chunk-size line, or a line of the trailer section after the last chunk."""
        if self._ending:
            if not line:
                self.done = True
                return
            self._trailers += len(line)
            if self._strict or self._trailers > _TRAILERS or _TRAILER.fullmatch(line) is None:
                raise FramingFault("trailers")
            return
        if self._strict:
            if _SIZE.fullmatch(line) is None:
                raise FramingFault("chunk size is not a plain number, or has an extension")
            size = int(line, 16)
        else:
            found = _LENIENT_SIZE.fullmatch(line)
            if found is None:
                raise FramingFault("chunk size is not a number")
            size = int(found[1], 16)
        if size == 0:
            self._ending = True
            return
        self._left = size + 2
        self._chunks += 1
        if self._strict and self._chunks > _SMALL_CHUNKS and self._payload < self._chunks * 16:
            raise FramingFault("too many tiny chunks")

    def _check_partial(self, partial: bytes) -> None:
        """Refuse early what cannot become a valid line."""
        if len(partial) > _LINE:
            raise FramingFault("chunk line too long")
        head = partial[:-1] if partial.endswith(b"\r") else partial
        if not self._strict:
            # It would wait for a line end that never comes.
            if b"\r" in head or b"\n" in head:
                raise FramingFault("bare CR or bare LF in a chunk line")
            return
        if head and (self._ending or _SIZE.fullmatch(head) is None):
            raise FramingFault("trailers" if self._ending else "chunk size is not a plain number, or has an extension")
