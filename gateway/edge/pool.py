"""Connections to each app, kept alive and bounded; who finds none waits in a bounded queue.

The bound is on requests that an app works on at once. A tunnel or an event stream lasts as long as somebody's page is
open: it leaves the count when it begins, and is bounded by the clients' own connections.
Choosing and evicting are synchronous; only opening a connection is a task. A waiter is told by `upstream_ready` or
`upstream_refused`, possibly before `acquire` returns.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit

from gateway.edge.services import EdgeTimeouts
from gateway.edge.timeouts import NEVER, Sweeper
from gateway.edge.upstream import UpstreamConnection
from gateway.state.records import App
from policies.reasons import Reason

SIZE: Final = 256
QUEUE: Final = 1024
IDLE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where an app lives."""

    scheme: str  # http | https | unix
    host: str  # "" for unix
    port: int
    path: str  # of the unix socket
    ca: str  # CA bundle for https, "" = the system's

    @classmethod
    def parse(cls, text: str, ca: str = "") -> Upstream:
        """Read `http://host:port`, `https://host:port` or `unix:/path`; raises ValueError."""
        if text.startswith("unix:/"):
            return cls("unix", "", 0, text.removeprefix("unix:"), "")
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"upstream: got {text!r}, expected http://host:port, https://host:port or unix:/path")
        return cls(parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), "", ca)

    @property
    def authority(self) -> str:
        """The Host header's value for an app that wants its own name."""
        standard = 443 if self.scheme == "https" else 80
        host = f"[{self.host}]" if ":" in self.host else self.host or "localhost"
        return host if self.port in (0, standard) else f"{host}:{self.port}"

    @property
    def origin(self) -> bytes:
        """Scheme and authority as they stand in a Location header of the app."""
        return f"{'https' if self.scheme == 'https' else 'http'}://{self.authority}".encode("ascii")


class Waiter(Protocol):
    """Somebody who wants a connection."""

    def upstream_ready(self, connection: UpstreamConnection, reused: bool) -> None:
        """Here it is; it is yours until you give it back."""

    def upstream_refused(self, status: int, reason: Reason) -> None:
        """There is none."""


@lru_cache(maxsize=64)
def _verified(ca: str) -> ssl.SSLContext:
    """Return a context that verifies chain and name; raises OSError where the CA file cannot be read."""
    context = ssl.create_default_context(cafile=ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Pool:
    """The connections to one upstream. Used from one loop only."""

    def __init__(self, upstream: Upstream, timeouts: EdgeTimeouts, sweeper: Sweeper, size: int = SIZE) -> None:
        self.upstream = upstream
        self._timeouts = timeouts
        self._sweeper = sweeper
        self._size = size
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Waiter] = deque()
        self._closed = False
        self.deadline = NEVER
        sweeper.add(self)

    def acquire(self, waiter: Waiter, *, fresh: bool = False) -> None:
        """Give `waiter` a connection: an idle one unless it wants a fresh one, else a new one, else a place to wait."""
        if self._idle and not fresh:
            waiter.upstream_ready(self._idle.pop(), True)
        elif len(self._open) + len(self._opening) < self._size:
            self._open_for(waiter)
        elif len(self._waiting) < QUEUE:
            self._waiting.append(waiter)
        else:
            waiter.upstream_refused(503, Reason.OVERLOADED)

    def cancel(self, waiter: Waiter) -> None:
        """Forget a waiter that left."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose answer ended; one that cannot be used again is closed."""
        connection.exchange = None
        counted = connection in self._open
        if not counted or not connection.reusable or connection.transport is None or self._closed:
            connection.close()
        elif self._waiting:
            self._waiting.popleft().upstream_ready(connection, True)
        else:
            deadline = connection.deadline = self._sweeper.now + IDLE
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
        self.let_go(connection)

    def let_go(self, connection: UpstreamConnection) -> None:
        """Count a connection no more: it ended, or streams to one client until that one leaves."""
        self._open.discard(connection)
        if self._waiting and len(self._open) + len(self._opening) < self._size:
            self._open_for(self._waiting.popleft())

    def on_deadline(self, now: float) -> None:
        """Close what has been idle too long."""
        stale = [connection for connection in self._idle if connection.deadline <= now]
        for connection in stale:
            connection.close()
        self.deadline = min((connection.deadline for connection in self._idle), default=NEVER)

    def close(self) -> None:
        """Close idle connections; those in use close when they come back."""
        self._closed = True
        self._sweeper.remove(self)
        for connection in list(self._idle):
            connection.close()

    def _open_for(self, waiter: Waiter) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(waiter))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, waiter: Waiter) -> None:
        loop = asyncio.get_running_loop()
        target = self.upstream
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(self._timeouts.upstream_connect):
                if target.scheme == "unix":
                    await loop.create_unix_connection(lambda: connection, target.path)
                elif target.scheme == "https":
                    context = _verified(target.ca)
                    await loop.create_connection(lambda: connection, target.host, target.port, ssl=context)
                else:
                    await loop.create_connection(lambda: connection, target.host, target.port)
        except (OSError, TimeoutError):
            # ssl.SSLError and CertificateError are OSErrors: an app whose name cannot be verified is not reached.
            waiter.upstream_refused(502, Reason.APP_UNREACHABLE)
            if self._waiting:
                self._open_for(self._waiting.popleft())
            return
        if connection.transport is None:
            waiter.upstream_refused(502, Reason.APP_UNREACHABLE)
            return
        self._open.add(connection)
        waiter.upstream_ready(connection, False)


class Pools:
    """The pool of each app; a changed registration gets a new pool."""

    def __init__(self, timeouts: EdgeTimeouts, sweeper: Sweeper, size: int = SIZE) -> None:
        self._timeouts = timeouts
        self._sweeper = sweeper
        self._size = size
        self._pools: dict[str, tuple[App, Pool]] = {}

    def of(self, app: App) -> Pool:
        """Return the pool of `app`; raises ValueError where its upstream cannot be read."""
        known = self._pools.get(app.id)
        if known is not None:
            before, pool = known
            if before is app or (before.upstream == app.upstream and before.upstream_ca == app.upstream_ca):
                return pool
        pool = Pool(Upstream.parse(app.upstream, app.upstream_ca), self._timeouts, self._sweeper, self._size)
        self._pools[app.id] = (app, pool)
        if known is not None:
            known[1].close()
        return pool

    def close(self) -> None:
        """Close every pool."""
        for _, pool in self._pools.values():
            pool.close()
        self._pools.clear()
