"""The connections to one upstream, kept alive and bounded; who finds none waits in a bounded queue.

The bound is on requests that an upstream works on at once. A tunnel or an event stream lasts as long as somebody's page
is open: it leaves the count when it begins, and is bounded by the clients' own connections.
Choosing and evicting are synchronous; only opening a connection is a task. A waiter is told by `upstream_ready` or
`upstream_refused`, possibly before `acquire` returns.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from gateway.edge import tls_to_apps
from gateway.edge.address import Upstream
from gateway.edge.breaker import Breaker
from gateway.edge.queue import Queue, Waiter
from gateway.edge.services import EdgeTimeouts, UpstreamBounds
from gateway.edge.timeouts import NEVER, Sweeper
from gateway.edge.upstream import UpstreamConnection
from policies.reasons import Reason


@dataclass(slots=True)
class PoolCounts:
    """What one pool counted since the worker started."""

    opened: int = 0  # connections
    reused: int = 0  # requests on a connection that was open
    failed: int = 0  # connections that could not be opened
    waited: int = 0  # requests that entered the queue
    refused: int = 0  # requests that the queue had no room or no time for, or that waited in it for too long
    stopped: int = 0  # requests that were not sent because the breaker was open
    opens: int = 0  # of the breaker


class HealthChange(NamedTuple):
    """An upstream is left alone from now on, or gets requests again."""

    pool: Pool
    reason: Reason | None  # the last failure, None = it answers again
    failures: int  # in a row, before it was left alone
    seconds: float  # for how long it is left alone at first, or was


def _told_nobody(change: HealthChange) -> None:
    del change


@lru_cache(maxsize=64)
def _verified(ca: str) -> ssl.SSLContext:
    """Return a context that verifies chain and name; raises OSError where the CA file cannot be read."""
    context = ssl.create_default_context(cafile=ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Pool:
    """The connections to one upstream. Used from one loop only."""

    def __init__(
        self,
        upstream: Upstream,
        timeouts: EdgeTimeouts,
        sweeper: Sweeper,
        bounds: UpstreamBounds | None = None,
        tell: Callable[[HealthChange], None] = _told_nobody,
    ) -> None:
        self.upstream = upstream
        self.timeouts = timeouts
        self.origins = frozenset({upstream.origin})
        """Of the whole app, as they may stand in its Location fields."""
        self.others: tuple[Pool, ...] = ()
        """Of the same app."""
        self.counts = PoolCounts()
        self._bounds = bounds = bounds or UpstreamBounds()
        self.breaker = Breaker(bounds.breaker_failures, bounds.breaker_first, bounds.breaker_longest)
        self._sweeper = sweeper
        self._tell = tell
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._streams: set[UpstreamConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._dialling = 0  # connections that may become open
        self._waiting = Queue(bounds)
        self.closed = False  # nobody is to be led there any more
        self.deadline = NEVER
        sweeper.add(self)

    @property
    def address(self) -> str:
        """Where it leads."""
        return self.upstream.address

    @property
    def load(self) -> int:
        """Requests and tunnels in flight, and those that wait."""
        return len(self._open) - len(self._idle) + len(self._streams) + self._dialling + len(self._waiting)

    @property
    def patience(self) -> float:
        """Seconds within which every waiter is told, one way or the other."""
        return self._bounds.queue_wait + 2 * self.timeouts.upstream_connect

    def left_alone(self) -> float:
        """Return the seconds until this upstream, or another one of the app, is asked again; 0 = one is now."""
        now = self._sweeper.clock()
        return min(max(0.0, each.breaker.until - now) if each.breaker.open else 0.0 for each in (self, *self.others))

    # Taking and giving back.

    def acquire(self, waiter: Waiter, *, fresh: bool = False) -> None:
        """Give `waiter` a connection: an idle one unless it wants a fresh one, else a new one, else a place to wait."""
        if self.closed or (self.breaker.open and not self.breaker.admit(self._sweeper.clock())):
            self.counts.stopped += 1
            waiter.upstream_refused(503, Reason.APP_UNREACHABLE)
        elif self._idle and not fresh:
            self.counts.reused += 1
            waiter.upstream_ready(self._idle.pop(), True)
        elif len(self._open) + self._dialling < self._bounds.connections:
            self._open_for(waiter)
        elif self._idle:  # nothing will come back that could make room for a fresh one
            self._idle[0].close()
            self._open_for(waiter)
        elif self._waiting.admits(self._sweeper.clock()):
            self._queue(waiter, fresh)
        else:
            self.counts.refused += 1
            waiter.upstream_refused(503, Reason.OVERLOADED)

    def cancel(self, waiter: Waiter) -> None:
        """Forget a waiter that left; a connection that is being opened for it goes to the next one."""
        self._waiting.leave(waiter)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose answer ended; one that cannot be used again is closed."""
        connection.exchange = None
        counted = connection in self._open
        if not counted or not connection.reusable or connection.transport is None or self.closed:
            connection.close()
        elif self._waiting:
            self._pass_on(connection)
        else:
            deadline = connection.deadline = self._sweeper.now + self._bounds.idle
            self._idle.append(connection)
            if deadline < self.deadline:  # noqa: PLR1730  # min() costs a call
                self.deadline = deadline

    def adopt(self, connection: UpstreamConnection) -> None:
        """Take a connection that is open and idle."""
        self._open.add(connection)
        self.release(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Strike out a connection that ended."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._open.discard(connection)
        self._streams.discard(connection)
        self._serve_next()

    def let_go(self, connection: UpstreamConnection) -> None:
        """Count a connection as load only: it streams to one client until that one leaves."""
        self._open.discard(connection)
        self._streams.add(connection)
        self._serve_next()

    # Health.

    def failed(self, reason: Reason, began: float, *, reached: bool) -> None:
        """Count that something which `began` then (monotonic seconds) failed.

        `reached` says that the upstream was there and broke off or answered badly. Then it is left alone only while
        another one of the app is not: asking the last one costs nobody a time-out, and one broken page must not shut
        an app.
        """
        breaker, now = self.breaker, self._sweeper.clock()
        may_open = not reached or any(not other.breaker.open for other in self.others)
        if not breaker.failed(now, began, may_open=may_open):
            return
        self.counts.opens += 1
        self._tell(HealthChange(self, reason, breaker.failures, breaker.until - now))
        for connection in list(self._idle):  # who does not answer new ones may have lost these without a word
            connection.close()
        for waiter in self._waiting.empty():
            self.counts.stopped += 1
            waiter.upstream_refused(503, Reason.APP_UNREACHABLE)

    def answered(self, began: float) -> None:
        """Take an answer to what `began` then, whatever it says; needed only while `breaker` is not calm."""
        breaker, now = self.breaker, self._sweeper.clock()
        since = breaker.since
        if breaker.answered(now, began):
            self._tell(HealthChange(self, None, 0, now - since))

    # Time, the end.

    def on_deadline(self, now: float) -> None:
        """Close what has been idle too long, refuse who has waited too long."""
        for connection in [connection for connection in self._idle if connection.deadline <= now]:
            connection.close()
        while (waiter := self._waiting.overdue(now)) is not None:
            self.counts.refused += 1
            waiter.upstream_refused(503, Reason.OVERLOADED)
        self.deadline = min((connection.deadline for connection in self._idle), default=NEVER)
        self.deadline = min(self.deadline, self._waiting.deadline)

    def close(self) -> None:
        """Close idle connections; those in use close when they come back. Who waits is sent elsewhere."""
        self.closed = True
        self._sweeper.remove(self)
        for connection in list(self._idle):
            connection.close()
        for waiter in self._waiting.empty():
            waiter.upstream_refused(503, Reason.APP_UNREACHABLE)

    # Opening.

    def _queue(self, waiter: Waiter, fresh: bool) -> None:
        self.counts.waited += 1
        self._waiting.enter(waiter, fresh, self._sweeper.clock())
        self.deadline = min(self.deadline, self._waiting.deadline)

    def _pass_on(self, connection: UpstreamConnection) -> None:
        """Give a connection that came back to who waits longest."""
        if self._waiting.first.fresh:
            connection.close()  # makes room, and with it a new one for that waiter
            return
        self.counts.reused += 1
        self._waiting.next(self._sweeper.clock()).upstream_ready(connection, True)

    def _serve_next(self) -> None:
        """Open connections for those who wait, as far as there is room."""
        while self._waiting and len(self._open) + self._dialling < self._bounds.connections:
            self._open_for(self._waiting.next(self._sweeper.clock()))

    def _open_for(self, waiter: Waiter) -> None:
        self._dialling += 1
        task = asyncio.get_running_loop().create_task(self._connect(waiter))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, waiter: Waiter) -> None:
        """Open a connection for `waiter`; whatever happens, it is told, and so is whoever waits behind it."""
        began = self._sweeper.clock()
        connection = UpstreamConnection(self)
        fault = Reason.APP_UNREACHABLE
        made = False
        try:
            async with asyncio.timeout(self.timeouts.upstream_connect):
                await self._dial(connection)
            made = connection.transport is not None  # it may be lost by now
        except TimeoutError:
            fault = Reason.APP_TIMED_OUT
        except OSError:
            pass  # so are ssl.SSLError and CertificateError: an app whose name cannot be verified is not reached
        except Exception as error:  # noqa: BLE001  # such as a host name that no resolver takes
            asyncio.get_running_loop().call_exception_handler({"message": "connecting failed", "exception": error})
        self._dialling -= 1
        if made and self.closed:
            connection.discard()
            waiter.upstream_refused(503, Reason.APP_UNREACHABLE)
            return
        if made:
            self.counts.opened += 1
            self._open.add(connection)
            waiter.upstream_ready(connection, False)
            return
        self.counts.failed += 1
        self.failed(fault, began, reached=False)
        waiter.upstream_refused(502, Reason.APP_UNREACHABLE)
        self._serve_next()

    async def _dial(self, connection: UpstreamConnection) -> None:
        """Connect as the upstream's address says; raises what the loop raises, TimeoutError by the caller's limit."""
        loop = asyncio.get_running_loop()
        target = self.upstream
        if target.scheme == "unix":
            await loop.create_unix_connection(lambda: connection, target.path)
        elif target.scheme == "https":
            await tls_to_apps.connect(loop, connection, target.host, target.port, _verified(target.ca))
        else:
            await loop.create_connection(lambda: connection, target.host, target.port)
