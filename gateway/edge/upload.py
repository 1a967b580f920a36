"""A request's body on its way to the app: framed anew, counted, bounded in size and in its least rate."""

from __future__ import annotations

from typing import Final

from gateway.edge.framing import BodyReader, Chunked, Counted
from gateway.gate.request import RequestHead

LEAST_RATE: Final = 240  # bytes/s that a client must bring, over one window of `body_idle` seconds


class BodyTooLarge(Exception):
    """The body is longer than its limit (413)."""


class Upload:
    """The body of one request; most requests have none."""

    __slots__ = ("_chunked", "_limit", "_reader", "_window", "taken")

    def __init__(self, request: RequestHead, limit: int) -> None:
        """`limit` is in bytes of payload."""
        self._chunked = request.chunked
        self._reader: BodyReader = Chunked(strict=True) if request.chunked else Counted(request.content_length or 0)
        self._limit = limit
        self._window = 0  # `taken` when the present window began
        self.taken = 0
        """Bytes of payload so far."""

    @property
    def done(self) -> bool:
        """Whether the body's last byte has come."""
        return self._reader.done

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what goes to the app, and the bytes behind the body's end.

        Raises FramingFault where the body cannot be read, BodyTooLarge where it passes its limit: then nothing of
        `data` may go on.
        """
        payload, rest = self._reader.feed(data)
        self.taken += len(payload)
        if self.taken > self._limit:
            raise BodyTooLarge
        if not self._chunked:
            return payload, rest
        out = b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
        return (out + b"0\r\n\r\n" if self._reader.done else out), rest

    def kept_pace(self, seconds: float) -> bool:
        """Whether the client brought enough in the last window of so many seconds; begins the next one."""
        brought = self.taken - self._window
        self._window = self.taken
        return brought >= LEAST_RATE * seconds
