"""The client's connection: the only state machine of the request path (its table is in `states`).

Bytes become one request head at a time; the gate judges it; the journal keeps the decision; only then an `Exchange`
carries it to the app, or we answer ourselves. What a client sends ahead waits here as bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from gateway.edge import guarded, states
from gateway.edge.answers import asks_for_head, to_https
from gateway.edge.arriving import LEFT
from gateway.edge.forward import forwarded_fields
from gateway.edge.held import HeldUpstream
from gateway.edge.long_body import LONG, LongBodies
from gateway.edge.relay import Exchange
from gateway.edge.resting import RestingConnection
from gateway.edge.services import Answer, EdgeServices, Passed, RecordNotKept
from gateway.edge.sockets import READ
from gateway.edge.states import (
    AFTER_CONNECTED,
    AFTER_JUDGED,
    AFTER_KEPT_PASSED,
    CLOSED,
    DRAINING,
    HEAD,
    IDLE,
    RECORDING,
)
from gateway.edge.timeouts import NEVER
from gateway.gate.request import Peer, RequestFault, RequestHead
from gateway.gate.verdict import Forward, Local, Unknown, Verdict
from policies.reasons import Reason

_PASSED: Final = (Forward, Local)


class ClientConnection(RestingConnection):
    """One connection of one client."""

    __slots__ = (
        "_advancing", "_ended", "_head", "_loop", "_on_end", "_rejudged", "_task", "_verdict",
        "authenticated", "forwarded",
    )  # fmt: skip

    def __init__(
        self, services: EdgeServices, loop: asyncio.AbstractEventLoop, peer: Peer,
        on_end: Callable[[ClientConnection], None],
    ) -> None:  # fmt: skip
        super().__init__(services, peer)
        self._loop = loop
        self._on_end = on_end
        self.forwarded = b""
        self._head: RequestHead | None = None
        self._verdict: Verdict | None = None
        self._task: asyncio.Task[None] | None = None
        self.authenticated = HeldUpstream()
        self._rejudged = 0
        self._advancing = self._ended = False

    # Bytes in.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (for TLS: after the handshake); bytes that came before are read now."""
        self.open(cast("asyncio.Transport", transport))
        self.forwarded = forwarded_fields(self.peer)
        services = self._services
        self.deadline = services.sweeper.now + services.timeouts.header
        services.sweeper.add(self)
        if self.buffer:
            self._advance()

    def data_received(self, data: bytes) -> None:
        """Read what belongs to the current exchange, keep the rest."""
        exchange = self.exchange
        if exchange is not None and exchange.wants_bytes:
            if self.buffer:  # what came before a 101 goes first
                data, self.buffer = self.buffer + data, b""
            exchange.from_client(data)
            return
        state = self._state
        if state is DRAINING or state is CLOSED:
            return
        self.buffer = self.buffer + data if self.buffer else data
        if (state is IDLE or state is HEAD) and not self.full:
            self._advance()
            if self.buffer and self._state > HEAD:
                self._hold_ahead()
        else:
            self._hold_ahead()

    def _hold_ahead(self) -> None:
        """Read no more where much came that has to wait: requests ahead of their turn, or a body ahead of its head."""
        if self.held:
            return
        head, size = self._head, len(self.buffer)
        if head is not None and (head.chunked or head.content_length):  # a body that follows its head is no fault
            if size > self._services.limits.ahead_bytes or (head.content_length or 0) - size >= LONG:
                self.hold(True)
        elif size > self._services.limits.ahead_bytes:
            self._services.reached["ahead_bytes"] += 1
            self.hold(True)

    def eof_received(self) -> bool:
        """The client sends no more: an answer in flight is still delivered, a half request is refused."""
        self.eof = True
        if self.exchange is not None:
            self.exchange.client_ended()
        else:
            self._end_of_input()
        return self._state is not DRAINING

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        del error
        self.transport = None
        self._move(states.LOST)
        self._release()

    def _advance(self) -> None:
        """Take complete heads from the buffer while it is their turn."""
        if self._advancing or self.transport is None:
            return
        self._advancing = True
        try:
            # What a client has not taken yet counts as unanswered: else its pipelined requests would pile up answers.
            while self.buffer and ((state := self._state) is IDLE or state is HEAD) and not self.full:
                if not self._take_head():
                    break
        finally:
            self._advancing = False
        if self.eof:
            self._end_of_input()

    def _end_of_input(self) -> None:
        """Nothing more will come: half a head is refused, between two requests the connection ends."""
        if self._state is HEAD:
            self._refuse(RequestFault(400, Reason.MALFORMED_REQUEST, "connection ended within a request head"))
        elif self._state is IDLE and not self.buffer:
            self._close()

    def _take_head(self) -> bool:
        """Read one head and act on it; return False while it is not complete."""
        head = self._reader.next(self.buffer, self.peer)
        if head is not None:
            self.buffer = b""
        else:
            try:
                head = self._first_head()
            except RequestFault as fault:
                self._refuse(fault)
                return True
            if head is None:
                return False
        self._requests += 1
        if self._requests >= self._services.limits.requests_per_connection:
            self.exhausted = True
            self._services.reached["requests_per_connection"] += 1
        self._judge(head, True)
        return True

    def _first_head(self) -> RequestHead | None:
        """Take the head at the start of the buffer, None while it is not complete; raises RequestFault."""
        data = self.buffer
        # RFC 9112 §2.2: an empty line (or two) before the request line is ignored.
        if data[0] == 13:
            data = data.removeprefix(b"\r\n").removeprefix(b"\r\n")
        head = self._reader.take(data, self.peer)
        if head is None:
            if self._state is IDLE:
                self.deadline = self._services.sweeper.now + self._services.timeouts.header
            self._move(states.PARTIAL)
            self.buffer = data
        else:
            self.buffer = data[self._reader.size :]
        return head

    # Judge, keep, act.

    def _judge(self, head: RequestHead, first: bool) -> None:
        """Judge a request and hand the decision to the journal; `first`: the steward was not asked about it yet."""
        if self.peer.listener == "redirect":
            self._redirect(head)
            return
        try:
            verdict = self._services.gatekeeper.judge(head)
        except Exception as error:  # noqa: BLE001  # whatever it was, nothing passes
            verdict = guarded.unjudged(self._services, head, error)
        if type(verdict) is Unknown:
            if first:
                self._move(states.UNKNOWN)
                self._task = self._loop.create_task(self._resolve(head, verdict.token_hash))
                return
            fault = RequestFault(503, Reason.INTERNAL_ERROR, "token still unknown after the question to the steward")
            verdict = self._services.gatekeeper.reject(self.peer, fault)
        self._state = AFTER_JUDGED[self._state]
        self._record(head, verdict)

    def _redirect(self, head: RequestHead) -> None:
        if self._services.gatekeeper.knows_host(head.host):
            self._answer(to_https(head, self._services.public_port), head, states.CLOSING)
        else:
            self._refuse(RequestFault(421, Reason.UNKNOWN_HOST, "plain request for a host not ours"), head)

    async def _resolve(self, head: RequestHead, token_hash: str) -> None:
        await self._services.gatekeeper.resolve(token_hash)
        self._task = None
        if self._state is states.RESOLVING:
            self._judge(head, False)

    def _refuse(self, fault: RequestFault, head: RequestHead | None = None) -> None:
        """Refuse what is not a request, or one (`head`) that has no answer; the connection ends with the refusal."""
        seen, self.buffer = self.buffer if head is None else head.lines, b""
        self._bodiless = asks_for_head(seen) if head is None else head.method == "HEAD"
        if fault.bound:
            self._services.reached[fault.bound] += 1
        self._move(states.FAULT)
        self._record(None, guarded.rejected(self._services, self.peer, fault, seen))

    def _record(self, head: RequestHead | None, verdict: Verdict) -> None:
        self._head = head
        self._verdict = verdict
        self._rejudged = self._services.live.rejudged
        self.deadline = NEVER  # the journal has its own stall limit, after which it calls back with an error
        try:
            self._services.gatekeeper.keep(verdict, self._kept)
        except RecordNotKept as error:
            self._kept(error)

    def _kept(self, error: BaseException | None) -> None:
        """The decision is recorded, or could not be."""
        head, verdict = self._head, self._verdict
        self._head = self._verdict = None
        if error is None and type(verdict) is Forward and head is not None and self._state is RECORDING:
            self._pass(head, verdict)
            return
        if verdict is None or isinstance(verdict, Unknown):
            return
        if self._state is not RECORDING:
            if error is None and head is not None and isinstance(verdict, _PASSED):
                Exchange(self, self._services, head, verdict).client_lost()
            return
        if error is not None:
            self._answer(guarded.unkept(self._services, head), head, states.CLOSING)
        elif head is not None and isinstance(verdict, _PASSED):
            self._pass(head, verdict)
        elif not isinstance(verdict, _PASSED):
            answer = guarded.answered(self._services, verdict, head)
            # A body that nobody will read would be taken for the next request.
            unread = head is None or not head.keep_alive or head.chunked or bool(head.content_length)
            closing = unread or answer.close or self.exhausted
            self._answer(answer, head, states.CLOSING if closing else states.KEPT_ANSWERED)
            self.guest = True

    def _pass(self, head: RequestHead, verdict: Passed) -> None:
        services = self._services
        # Something may have been revoked while the record was being kept: this was not among the live ones then.
        if services.live.rejudged != self._rejudged and (reason := services.gatekeeper.judge_again(head)):
            Exchange(self, services, head, verdict).cut(reason)
            return
        self._state = AFTER_KEPT_PASSED[self._state]
        self.exchange = Exchange(self, services, head, verdict)
        self.exchange.start()

    # What the exchange reports.

    def exchange_connected(self) -> None:
        """The exchange has an upstream connection."""
        self._state = AFTER_CONNECTED[self._state]

    def exchange_retries(self) -> None:
        """A stale pooled connection: the exchange tries another."""
        self._move(states.RETRY)

    def exchange_switched(self) -> None:
        """The exchange is a tunnel from now on."""
        self._move(states.SWITCHED)
        self._loop.call_soon(self.take_buffered)

    def exchange_done(self, keep: bool) -> None:
        """The whole answer was written."""
        self._settle(states.FINISHED if keep else states.CLOSING)

    def exchange_failed(self, answer: Answer, *, close: bool) -> None:
        """The app did not answer: we do in its place."""
        exchange = self.exchange
        if exchange is None:
            return
        closing = close or answer.close or self.exhausted or not exchange.request.keep_alive
        self._answer(answer, exchange.request, states.CLOSING if closing else states.FAILED)

    def take_buffered(self) -> None:
        """Give the exchange what arrived before it could take it, be it the end."""
        exchange = self.exchange
        if exchange is not None and exchange.wants_bytes and self.buffer:
            data, self.buffer = self.buffer, b""
            if self.held:
                self.hold(False)
            exchange.from_client(data)
        if exchange is not None and self.eof:
            exchange.client_ended()

    def read_long(self) -> None:
        """Read from now on as is best for a long body."""
        transport = self.transport
        if transport is not None and transport.get_protocol() is self:
            transport.set_protocol(LongBodies(self))
            if not self.held:  # what was begun as one kind of reading ends as that
                transport.pause_reading()
                transport.resume_reading()

    # Back-pressure, time, ends.

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self.full = True
        if not self.kept and not self._ended and self.transport is not None:  # before it is made, nobody gives back
            self.kept = LEFT.take(READ)
        if self.exchange is not None:
            self.exchange.client_full(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.full = False
        self.give_back()
        if self.exchange is not None:
            self.unread = None
            self.exchange.client_full(False)
        elif self._state <= HEAD:
            if self.held:
                self.hold(False)
            self._advance()

    def on_deadline(self, now: float) -> None:
        """A time limit of this connection has passed."""
        if self.exchange is not None:
            self.exchange.on_deadline(now)
        elif self._state is HEAD:
            self._refuse(RequestFault(408, Reason.TIMED_OUT, "request head not complete in time", "header"))
        elif self._state is DRAINING or (self._state is IDLE and self._requests):
            self._on_rest(now)
        else:
            self._close()

    def reset(self, farewell: bytes = b"", *, gently: bool = False) -> None:
        """Reset the connection, or close it `gently`; `farewell` goes out first if the socket takes it at once."""
        self.exchange = None
        self._move(states.CUT)
        self._release()
        self.cut(self._loop, farewell, gently=gently)

    def _release(self) -> None:
        """Give back everything, once."""
        if self._ended:
            return
        self._ended = True
        self.give_back()
        self._services.sweeper.remove(self)
        self.buffer = b""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_lost()
        if self._task is not None:
            self._task.cancel()
        self.authenticated.close()
        self._on_end(self)
