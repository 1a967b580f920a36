"""What one exchange carries: the request's body, the answer, the frames of a tunnel; counted, and held back.

A piece goes on as soon as it is there, on one side only as fast as the other takes it. Who begins and ends an exchange
is `relay`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from gateway.edge import waiting_for
from gateway.edge.arriving import FROM_APPS
from gateway.edge.delivery import delivered
from gateway.edge.draining import LOOK
from gateway.edge.framing import FramingFault
from gateway.edge.response import ResponseHead
from gateway.edge.retrying import Retrying
from gateway.edge.timeouts import NEVER
from gateway.edge.tunnel import FrameTracker, Tunnel, TunnelFault
from gateway.edge.upload import BodyTooLarge, Upload
from gateway.edge.waiting_for import Waiting
from gateway.gate.verdict import Forward, Local
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.edge.services import Outcome
    from gateway.edge.upstream import UpstreamConnection


class Bodies(Retrying):
    """An exchange, as far as bytes pass through it."""

    __slots__ = (
        "_body", "_chunked_out", "_first_byte", "_moved", "_status", "_total", "_tunnel", "_upstream",
        "_waiting", "keep", "request_bytes", "response_bytes",
    )  # fmt: skip

    keep: bool  # the client's connection goes on behind the answer
    request_bytes: int
    response_bytes: int
    _body: Upload | None
    _upstream: UpstreamConnection | None
    _status: int
    _chunked_out: bool
    _first_byte: float | None
    _waiting: Waiting
    _tunnel: Tunnel | None
    _moved: float  # when a piece came that was passed on unread, in the sweeper's time
    _total: float  # by when everything has to be over, in the sweeper's time

    @abstractmethod
    def cut(self, reason: str, detail: str = "") -> None:
        """End the exchange now: nothing more leaves for the client."""

    @abstractmethod
    def conclude(self, reason: str) -> None:
        """Do what a cut leaves for later."""

    @abstractmethod
    def outcome(self) -> Outcome:
        """Return how it stands so far."""

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _fail(self, status: int, reason: Reason, detail: str = "", bound: str = "") -> None: ...

    # From the client.

    def from_client(self, data: bytes) -> None:
        """Pass on a piece of the request's body, or of the tunnel."""
        upstream, body = self._upstream, self._body
        if upstream is None:
            return
        if self._tunnel is not None:
            if self._followed(self._tunnel.inward, data):
                self.request_bytes += len(data)
                upstream.write(data)
            return
        if body is None:
            return
        try:
            out, rest = body.feed(data)
        except FramingFault as fault:
            self._fail(400, Reason.MALFORMED_REQUEST, str(fault))
            return
        except BodyTooLarge:
            self._fail(413, Reason.TOO_LARGE, bound="body_bytes")
            return
        finally:
            self.request_bytes = body.taken
        if out:
            upstream.write(out)
        if body.done:
            self._client.buffer = rest
            self._whole()

    def passed_on(self, data: memoryview) -> bool:
        """Pass on a piece of the request's body from where it was read; False = `from_client` has to look at it."""
        upstream, body = self._upstream, self._body
        if upstream is None or body is None or self._tunnel is not None or not body.took(len(data)):
            return False
        self.request_bytes = body.taken
        upstream.pass_on(data)
        if body.done:
            self._whole()
        return True

    def _whole(self) -> None:
        """The request's body is over."""
        self._body = None
        if not self._status:
            self._expect(waiting_for.FIRST_BYTE, self._pool.timeouts.upstream_first_byte)

    def upstream_full(self, full: bool) -> None:
        """Back-pressure from the app."""
        self._client.hold(full)

    # From the app.

    def received(self, head: ResponseHead | None, payload: bytes, done: bool) -> None:
        """Relay a piece of the answer as soon as it is there."""
        if self._ended:
            return
        if not done:
            if head is not None and (head.status == 101 or head.streams_events):
                self._total = NEVER  # an open page lasts as long as somebody looks at it
                if not self._services.live.is_stream(self):
                    self._fail(429, Reason.RATE_LIMITED, "too many streams", "streams_per_session")
                    return
            self._expect_more()
            if self._upstream is not None:
                self._upstream.small = bool(self._client.peer.tls_version)
        out = b"" if head is None else self._answer_head(head, done, len(payload))
        if payload:
            self.response_bytes += len(payload)
            out += b"%x\r\n%b\r\n" % (len(payload), payload) if self._chunked_out else payload
        if done and self._chunked_out:
            out += b"0\r\n\r\n"
        transport = self._client.transport
        if transport is not None:
            transport.write(out)
        if done:
            self._finish()

    def more(self, payload: memoryview, done: bool) -> None:
        """Relay further bytes of an answer of known length from where they were read."""
        if self._ended:
            return
        now = self._services.sweeper.now
        if now != self._moved:  # else a piece of the same moment said the same
            self._moved = now
            self._expect_more()
        self.response_bytes += len(payload)
        if self._client.transport is not None:
            FROM_APPS.pass_on(payload, self._client.transport)
        if done:
            self._finish()

    def _answer_head(self, head: ResponseHead, done: bool, size: int) -> bytes:
        clock = self._services.clock
        self._first_byte = clock() - self.started
        status = self._status = head.status
        request, pool = self.request, self._pool
        if not pool.breaker.calm:
            pool.answered(self.started)
        if self._body is not None or self._client.exhausted:
            self.keep = False
            if self._body is not None and self._upstream is not None:
                self._upstream.reusable = False  # an early answer: what it does with the rest of the body is unknown
        if head.plain and self.keep and b"authorization" not in request.find:
            return head.plain
        verdict = self.verdict
        if status == 101:
            self._tunnel = Tunnel(self._services.limits.frame_bytes, head)
            self._client.exchange_switched()
        elif isinstance(verdict, Forward):
            asked = b"www-authenticate" in head.find or b"authorization" in request.find
            if asked and self._upstream is not None:
                self._client.authenticated.answered(verdict, request, head, self._upstream, pool)
        local, whole = isinstance(verdict, Local), size if done else -1
        out, self._chunked_out, self.keep = delivered(head, request, pool.origins, local, whole, self.keep)
        return out

    def client_full(self, full: bool) -> None:
        """The client reads more slowly than the app writes, or has caught up."""
        if self._upstream is not None:
            self._upstream.hold(full)
        if full:
            self._expect(waiting_for.CLIENT_READS, LOOK)
        else:
            self._expect_more()

    # Tunnels.

    def tunnelled(self, data: bytes) -> None:
        """Bytes of the app's frames."""
        tunnel = self._tunnel
        if tunnel is not None and not self._ended and self._followed(tunnel.outward, data):
            self.response_bytes += len(data)
            self._client.write(data)

    def _followed(self, frames: FrameTracker, data: bytes) -> bool:
        """Whether `data` may pass; the tunnel is cut where it may not."""
        self._expect_more()
        try:
            frames.feed(data)
        except TunnelFault as fault:
            if fault.reason is Reason.TOO_LARGE:
                self._services.reached["frame_bytes"] += 1
            self.cut(fault.reason, str(fault))
            return False
        return True

    # What is waited for.

    def _expect(self, waiting: Waiting, seconds: float) -> None:
        self._waiting = waiting
        deadline = self._services.sweeper.now + seconds
        self._client.deadline = deadline if deadline < self._total else self._total  # noqa: FURB136  # min() costs a call

    def _expect_more(self) -> None:
        if self._client.full:
            return  # whatever still comes, it has to take what is there
        timeouts = self._services.timeouts
        if self._total == NEVER:
            if self._tunnel is not None and self._client.eof:
                return  # it ends soon, whatever still comes
            self._expect(waiting_for.IN_TUNNEL, timeouts.tunnel_idle)
        else:
            self._expect(waiting_for.NEXT_BYTES, self._pool.timeouts.upstream_between)
