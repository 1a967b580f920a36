"""One forwarded request, from its kept decision to its completion record: its connection, its time limits, its end.

The exchange stands between one client connection and one upstream connection. It ends exactly once, whoever ends it:
`_end` gives the outcome to the gatekeeper, and nothing is relayed after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.edge import guarded, waiting_for
from gateway.edge.bodies import Bodies
from gateway.edge.draining import LOOK
from gateway.edge.forward import field_lines, request_head
from gateway.edge.held import offers_identity
from gateway.edge.services import EdgeServices, Outcome, Passed
from gateway.edge.tunnel import LEAVING, RESTARTING
from gateway.edge.upload import Upload, limit_of
from gateway.edge.waiting_for import Waiting
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.edge.connection import ClientConnection
    from gateway.edge.upstream import UpstreamConnection

CLIENT_GONE: Final = "client_gone"


class Exchange(Bodies):
    """One forwarded request."""

    __slots__ = ("_detail",)

    def __init__(self, client: ClientConnection, services: EdgeServices, request: RequestHead, verdict: Passed) -> None:
        self._client = client
        self._services = services
        self.request = request
        self.verdict = verdict
        self.keep = request.keep_alive
        # Every field is set, also those that few requests need: a default of the class costs more at each reading.
        self._body = self._upstream = self._tunnel = self._first_byte = None
        self._reused = self._again = self._ended = self._chunked_out = False
        self._status = self.request_bytes = self.response_bytes = 0
        self._waiting = waiting_for.NOTHING
        self._tried, self._moved, self._detail = (), 0.0, ""
        if request.chunked or request.content_length:
            self._body = Upload(request, limit_of(verdict, request, services.limits))
        clock = services.clock  # taken out and called: called at once it is looked for as a method
        self.started = clock()
        self._total = services.sweeper.now + services.timeouts.total_request

    # The way out: a connection, the head, the body.

    def start(self) -> None:
        """Enter the live registry and ask for a connection."""
        services, verdict, fresh = self._services, self.verdict, False
        services.live.add(self)
        if self._body is not None and self._body.declared_too_large:
            self._fail(413, Reason.TOO_LARGE, bound="body_bytes")
            return
        try:
            if type(verdict) is Forward:
                authenticated = self._client.authenticated
                if authenticated.held is not None and (held := authenticated.take(verdict)) is not None:
                    connection, self._pool = held
                    self.upstream_ready(connection, True)
                    return
                self._pool = services.pools.of(verdict.app, verdict.app_session_id, self.request)
                fresh = b"authorization" in self.request.find and offers_identity(self.request)
            else:
                self._pool = services.control
        except ValueError:
            self._fail(502, Reason.APP_UNREACHABLE)
            return
        self._pool.acquire(self, fresh=fresh)
        if self._upstream is None and not self._ended:
            self._expect(waiting_for.CONNECTION, self._pool.patience)

    def upstream_ready(self, connection: UpstreamConnection, reused: bool) -> None:
        """Send the head, and what the client has sent of the body."""
        if self._ended:
            self._pool.release(connection)
            return
        self._upstream, self._reused = connection, reused
        connection.take(self)
        client = self._client
        client.exchange_connected()
        services, verdict = self._services, self.verdict
        try:
            ours = services.gatekeeper.identity(verdict) if type(verdict) is Forward else field_lines(verdict.headers)
        except Exception as error:  # noqa: BLE001  # an app must not get a request without its asker
            guarded.unidentified(error)
            self._fail(503, Reason.INTERNAL_ERROR)
            return
        connection.write(request_head(self.request, verdict, self._pool.upstream, client.forwarded, ours))
        body = self._body
        if body is None:
            self._expect(waiting_for.FIRST_BYTE, self._pool.timeouts.upstream_first_byte)
            return
        self._expect(waiting_for.CLIENT_BODY, body.begin(services))
        if self.request.expect_continue and not client.buffer:
            client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.take_buffered()
        if body.long:
            client.read_long()

    @property
    def wants_bytes(self) -> bool:
        """Whether the client's bytes belong to this exchange now (body of the request, or frames)."""
        return self._upstream is not None and (self._body is not None or self._tunnel is not None)

    def answer_broken(self, detail: str) -> None:
        """The app's answer cannot be passed on: 502 if nothing went out yet, else the client sees it cut."""
        self._upstream = None
        if not self._ended:
            self._pool.failed(Reason.APP_ANSWER_INVALID, self.started, reached=True)
            self._fail(502, Reason.APP_ANSWER_INVALID, detail)

    def upstream_lost(self) -> None:
        """The app's connection ended early: once more on another if that is safe, else 502 or a cut."""
        upstream, self._upstream = self._upstream, None
        if self._ended or upstream is None:
            return
        if self._tunnel is not None:
            reason, detail = self._tunnel.ending
            self._end(reason, aborted=False, detail=detail)
            self._client.exchange_done(False)
            return
        silent = self._first_byte is None and not upstream.answering
        reason = Reason.APP_UNREACHABLE if silent else Reason.APP_ANSWER_INVALID
        if not self._lost(reason, silent=silent):
            self._fail(502, reason, "" if silent else "connection ended within the answer")

    # Time.

    def on_deadline(self, now: float) -> None:
        """A time limit has passed."""
        waiting, body = self._waiting, self._body
        if now >= self._total:
            self._services.reached["total_request"] += 1
            self._out_of_time(waiting)
        elif waiting is waiting_for.CLIENT_BODY and body is not None:
            if self._client.held:  # the app is the slow one: the client can bring nothing
                self._expect(waiting, body.begin(self._services))
            elif until := body.kept_pace(now):
                self._expect(waiting, until - now)
            else:
                self._fail(408, Reason.TIMED_OUT, bound="body_min_rate")
        elif waiting is waiting_for.CLIENT_READS and self._client.reads(now):
            self._expect(waiting, LOOK)
        else:
            self._out_of_time(waiting)

    def _out_of_time(self, waiting: Waiting) -> None:
        if waiting is waiting_for.CONNECTION or waiting is waiting_for.FIRST_BYTE:
            if waiting is waiting_for.FIRST_BYTE:
                self._pool.failed(Reason.APP_TIMED_OUT, self.started, reached=False)
            self._fail(504, Reason.APP_TIMED_OUT)
        elif waiting is waiting_for.OTHER_END:
            self.client_lost()
            self._client.reset()
        else:
            self.cut(Reason.APP_TIMED_OUT if waiting is waiting_for.NEXT_BYTES else Reason.TIMED_OUT)

    # Ends.

    def _finish(self) -> None:
        """The whole answer went out."""
        upstream, self._upstream = self._upstream, None
        client = self._client
        unfinished = self._body is not None
        if upstream is not None:
            if client.full:
                upstream.hold(False)  # it goes to another client, that waits for none
            if unfinished:
                upstream.discard()
            elif client.authenticated.held is not None and client.authenticated.has(upstream) and upstream.reusable:
                upstream.exchange = None
            else:
                self._pool.release(upstream)
        self._end("", aborted=unfinished)
        client.exchange_done(self.keep)

    def _fail(self, status: int, reason: Reason, detail: str = "", bound: str = "") -> None:
        """Answer in the app's place, or cut where its answer has begun; `bound`: the setting that it went over."""
        if bound:
            self._services.reached[bound] += 1
        self._drop_upstream()
        started = self._status != 0
        if not started:
            self._status = status
        self._end(reason, aborted=self._body is not None, detail=detail)
        if started:
            self._client.reset()
        else:
            unread = self._body is not None or self.request.expect_continue
            wait = self._pool.left_alone() if status == 503 and reason is Reason.APP_UNREACHABLE else 0.0
            answer = guarded.failed(self._services, self.verdict, self.request, status, reason, wait)
            self._client.exchange_failed(answer, close=unread)

    def client_ended(self) -> None:
        """The client sends no more: fine after its request, a fault within its body, the end of a tunnel."""
        if self._tunnel is not None and self._upstream is not None:
            self._upstream.half_close()
            self._expect(waiting_for.OTHER_END, LEAVING)
        elif self._upstream is not None and self._body is not None and not self._ended:
            self._fail(400, Reason.MALFORMED_REQUEST, "connection ended within the body")

    def client_lost(self) -> None:
        """The client left before the end."""
        if not self._ended:
            tunnel = self._tunnel is not None
            self._drop_upstream(gently=tunnel)
            self._end("" if tunnel else CLIENT_GONE, aborted=self._body is not None)

    def cut(self, reason: str, detail: str = "") -> None:
        """End this exchange now (revocation, lock, broken frames): nothing more leaves for the client."""
        if not self._ended:
            self._ended = True
            self._detail = detail
            tunnel = self._tunnel
            farewell = b"" if tunnel is None else tunnel.farewell(reason, self.verdict.request_id)
            self._client.reset(farewell, gently=reason == RESTARTING)
            self._services.live.conclude_later(self, reason)

    def conclude(self, reason: str) -> None:
        """Do what a cut leaves for later: the app's connection, the completion record."""
        self._drop_upstream()
        self._end(reason, aborted=self._body is not None, detail=self._detail)

    def _drop_upstream(self, *, gently: bool = False) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None and gently:
            upstream.leave(LEAVING)
        elif upstream is not None:
            upstream.discard()
        elif self._waiting is waiting_for.CONNECTION:
            self._pool.cancel(self)

    def _end(self, reason: str, *, aborted: bool, detail: str = "") -> None:
        self._ended = True
        services, tunnel = self._services, self._tunnel
        clock = services.clock
        services.live.remove(self)
        ended = Outcome(
            self._status, reason, aborted, self.request_bytes, self.response_bytes,
            clock() - self.started, self._first_byte, detail,
        )  # fmt: skip
        services.gatekeeper.completed(self.verdict, self.request, ended if tunnel is None else tunnel.counted(ended))

    def outcome(self) -> Outcome:
        """Return how this request stands so far."""
        duration = self._services.clock() - self.started
        so_far = Outcome(self._status, "", False, self.request_bytes, self.response_bytes, duration, self._first_byte)
        return so_far if self._tunnel is None else self._tunnel.counted(so_far)
