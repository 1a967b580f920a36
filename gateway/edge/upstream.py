"""One connection to an app: its bytes become one answer at a time for the exchange that holds it.

A byte that nobody asked for, a byte after the answer's end, any fault: the connection is closed, never pooled again.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from gateway.edge.arriving import FROM_APPS, FROM_CLIENTS, LARGE
from gateway.edge.framing import BodyReader, Counted, FramingFault, UntilClose
from gateway.edge.response import INTERIM_LIMIT, AnswerFault, AnswerReader, ResponseHead
from gateway.edge.sockets import READ_FOR_TLS, reset
from gateway.edge.timeouts import NEVER
from gateway.edge.tunnel import switches
from gateway.gate.request import RequestHead

_WITH_BODY: Final = frozenset(range(200, 600)) - {204, 304}


class Receiver(Protocol):
    """What an upstream connection tells the exchange that holds it."""

    request: RequestHead  # an answer to HEAD has no body, a 101 must have been asked for

    def received(self, head: ResponseHead | None, payload: bytes, done: bool) -> None:
        """Part of the answer: its head once, payload as it comes, `done` with its last byte."""

    def more(self, payload: memoryview, done: bool) -> None:
        """Further bytes of the answer, in `FROM_APPS`: they have to be out, or left to a transport, on return."""

    def tunnelled(self, data: bytes) -> None:
        """Bytes after a 101."""

    def answer_broken(self, detail: str) -> None:
        """The answer cannot be passed on (or not to its end)."""

    def upstream_lost(self) -> None:
        """The connection ended before the answer did."""

    def upstream_full(self, full: bool) -> None:
        """The app reads more slowly than we write, or has caught up."""


class Owner(Protocol):
    """The pool, as a connection sees it."""

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection ended or will not be used again."""

    def let_go(self, connection: UpstreamConnection) -> None:
        """The connection has become a stream of one client: it counts for no limit of requests any more."""


def _piece(body: BodyReader, data: bytes) -> bytes:
    """Return what `data` brings of the body; raises FramingFault, or AnswerFault where it goes on behind the end.

    Such bytes are a sign that the app means an answer to end elsewhere than we read it: nothing of it is passed on.
    """
    payload, rest = body.feed(data) if data else (b"", b"")
    if rest:
        raise AnswerFault("bytes behind the answer's end")
    return payload


class UpstreamConnection(asyncio.BufferedProtocol):
    """Bytes in from one app."""

    __slots__ = (
        "_body", "_buffer", "_interim", "_owner", "_reader", "deadline", "exchange", "reusable",
        "small", "transport", "tunnel",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._reader = AnswerReader()
        self._buffer = b""
        self._body: BodyReader | None = None
        self._interim = 0
        self.transport: asyncio.Transport | None = None
        self.exchange: Receiver | None = None
        self.reusable = True
        self.tunnel = False
        self.small = False  # what is read goes out encrypted
        self.deadline = NEVER  # while pooled: when it is closed for idleness

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=65536, low=16384)

    @property
    def answering(self) -> bool:
        """Whether a byte of the current answer has come."""
        return bool(self._buffer) or self._body is not None or self._interim > 0

    def take(self, exchange: Receiver) -> None:
        """Give this connection to `exchange` for one request."""
        self.exchange = exchange
        self._body = None
        self._buffer = b""
        self._interim = 0
        self.reusable = True
        self.small = False

    def write(self, data: bytes) -> None:
        """Send bytes to the app."""
        if self.transport is not None:
            self.transport.write(data)

    def pass_on(self, data: memoryview) -> None:
        """Send a part of `FROM_CLIENTS`."""
        if self.transport is not None:
            FROM_CLIENTS.pass_on(data, self.transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: one read brings no more than may wait for a client (promise P3)."""
        del sizehint
        return FROM_APPS.memory[:READ_FOR_TLS] if self.small else FROM_APPS.memory

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        if nbytes < LARGE or not self._passed(nbytes):
            data = FROM_APPS.memory[:nbytes].tobytes()
            if FROM_APPS.narrow:
                FROM_APPS.widen()
            self.data_received(data)

    def _passed(self, size: int) -> bool:
        """Pass on what is only body, of known length."""
        exchange, body, start = self.exchange, self._body, 0
        if exchange is None:
            return False
        if body is None:
            head = None if self._buffer or self.tunnel else self._long_answer(size, exchange.request.method)
            if head is None:
                return False
            body, start = self._body, self._reader.size
            exchange.received(head, b"", False)
        if type(body) is not Counted or size - start > body.left:
            return False
        exchange.more(FROM_APPS.memory[start:size], body.took(size - start))
        return True

    def _long_answer(self, size: int, method: str) -> ResponseHead | None:
        """Begin a body of known length of which more is to come; None = there is none, or a fault."""
        try:
            head = self._reader.take(FROM_APPS.memory[:LARGE].tobytes())
            if head is None or head.status not in _WITH_BODY or method == "HEAD":
                return None
            if head.length <= size - self._reader.size:
                return None
            self._begin(head, method)
        except AnswerFault:
            return None
        return head

    def data_received(self, data: bytes) -> None:
        """Read the answer."""
        exchange = self.exchange
        if exchange is None:
            self.discard()
            return
        if self.tunnel:
            exchange.tunnelled(data)
            return
        head = None
        try:
            if self._body is None:
                head = None if self._buffer else self._reader.take(data)
                if head is not None and head.status >= 200:
                    data = data[self._reader.size :]
                else:
                    head, data = self._read_head(data)
                    if head is None:
                        return
                if head.length == len(data) and head.status in _WITH_BODY and exchange.request.method != "HEAD":
                    if not head.keep_alive:
                        self.reusable = False
                    exchange.received(head, data, True)
                    return
                if head.status == 101:
                    self._switch(exchange, head, data)
                    return
                self._begin(head, exchange.request.method)
            body = cast("BodyReader", self._body)
            payload = _piece(body, data)
        except (AnswerFault, FramingFault) as fault:
            self.discard()
            exchange.answer_broken(str(fault))
            return
        exchange.received(head, payload, body.done)

    def _begin(self, head: ResponseHead, method: str) -> None:
        """Prepare for what follows an answer's head; raises AnswerFault."""
        self._body = head.body(method)
        if not head.keep_alive or method == "HEAD" or (head.status == 304 and head.framed):
            # An app that sends a body to these all the same may send it late: it would be read as the next answer.
            self.reusable = False
        if head.streams_events:
            self._owner.let_go(self)

    def _read_head(self, data: bytes) -> tuple[ResponseHead | None, bytes]:
        """Return the final answer's head and what follows it; (None, b"") while incomplete. 1xx are dropped."""
        if self._buffer:
            data = self._buffer + data
        while True:
            head = self._reader.take(data)
            if head is None:
                self._buffer = data
                return None, b""
            data = data[self._reader.size :]
            if head.status >= 200 or head.status == 101:
                self._buffer = b""
                return head, data
            self._interim += 1
            if self._interim > INTERIM_LIMIT:
                raise AnswerFault("too many interim answers")

    def _switch(self, exchange: Receiver, head: ResponseHead, data: bytes) -> None:
        if not switches(exchange.request, head):
            raise AnswerFault("101 that was not asked for, or with a wrong Sec-WebSocket-Accept")
        self.tunnel = True
        self.reusable = False
        self._owner.let_go(self)
        exchange.received(head, b"", False)
        if data and self.exchange is not None:
            exchange.tunnelled(data)

    def eof_received(self) -> bool:
        """The app sends no more: the end of an answer that ends so, else a loss."""
        exchange = self.exchange
        self.reusable = False
        if exchange is not None and isinstance(self._body, UntilClose):
            exchange.received(None, b"", True)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        del error
        self.transport = None
        self.reusable = False
        self._owner.forget(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.upstream_lost()

    def pause_writing(self) -> None:
        """The app does not keep up."""
        if self.exchange is not None:
            self.exchange.upstream_full(True)

    def resume_writing(self) -> None:
        """The app has caught up."""
        if self.exchange is not None:
            self.exchange.upstream_full(False)

    def hold(self, paused: bool) -> None:
        """Stop or go on reading from the app."""
        if self.transport is not None and not self.transport.is_closing():
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def close(self) -> None:
        """Close this connection between two requests."""
        self.exchange = None
        self.reusable = False
        if self.transport is not None:
            self.transport.close()
        self._owner.forget(self)

    def half_close(self) -> None:
        """Tell the app that its tunnel's client sends no more."""
        transport = self.transport
        if transport is not None and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    def leave(self, seconds: float) -> None:
        """Close a tunnel whose client left: what was passed on still reaches the app, within so many seconds."""
        transport = self.transport
        self.close()
        if transport is not None:
            asyncio.get_running_loop().call_later(seconds, reset, transport)

    def discard(self) -> None:
        """Reset this connection: it will not be used again, an unfinished request on it is never completed."""
        self.exchange = None
        self.reusable = False
        if self.transport is not None:
            reset(self.transport)
        self._owner.forget(self)
