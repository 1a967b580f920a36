"""A request's body on its way to the app: framed anew, counted, bounded in size and in its least rate."""

from __future__ import annotations

from gateway.edge.framing import BodyReader, Chunked, Counted
from gateway.edge.long_body import LONG
from gateway.edge.pace import Pace
from gateway.edge.services import EdgeLimits, EdgeServices, Passed
from gateway.gate.body_limit import body_limit
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward


def limit_of(verdict: Passed, request: RequestHead, limits: EdgeLimits) -> int:
    """Return how many bytes the body of this request may have."""
    most = limits.body_bytes
    return body_limit(verdict.app, request.path_text, most) if isinstance(verdict, Forward) else most


class BodyTooLarge(Exception):
    """The body is longer than its limit (413)."""


class Upload:
    """The body of one request; most requests have none."""

    __slots__ = ("_chunked", "_declared", "_limit", "_pace", "_reader", "_seen", "taken")

    def __init__(self, request: RequestHead, limit: int) -> None:
        """`limit` is in bytes of payload."""
        self._chunked = request.chunked
        self._reader: BodyReader = Chunked(strict=True) if request.chunked else Counted(request.content_length or 0)
        self._limit = limit
        self._declared = request.content_length or 0
        self._seen = 0  # `taken` at the last look
        self.taken = 0
        """Bytes of payload so far."""

    @property
    def declared_too_large(self) -> bool:
        """Whether the head says already that the body will pass its limit."""
        return self._declared > self._limit

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

    def took(self, size: int) -> bool:
        """Count a piece that is nothing but payload and may go on unread; False = it has to be fed."""
        reader = self._reader
        if type(reader) is not Counted or size > reader.left or self.taken + size > self._limit:
            return False
        reader.took(size)
        self.taken += size
        return True

    @property
    def long(self) -> bool:
        """Whether much is still to come, of a length that is known."""
        return self._declared - self.taken >= LONG

    def begin(self, services: EdgeServices) -> float:
        """Give the client its time, from now on; returns how many seconds that is."""
        timeouts, now = services.timeouts, services.sweeper.now
        self._pace = Pace(services.limits.body_min_rate, timeouts.slow_grace, timeouts.body_idle, now)
        self._seen = self.taken
        return self._pace.until - now

    def kept_pace(self, now: float) -> float:
        """Return until when the client has time, by what it brought since the last look; 0 = it is up."""
        brought, self._seen = self.taken - self._seen, self.taken
        return self._pace.until if self._pace.moved(brought, now) else 0.0
