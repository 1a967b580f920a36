"""Where a request goes when an upstream does not take it, or is lost before it answered.

Not a byte went out: any request may go to another upstream. It was sent, and not a byte came back: once more if it
only reads (`choice.may_repeat`), over a fresh connection to the same upstream where a pooled one may have been stale,
else to another. Everything beside that is told to the client.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gateway.edge import waiting_for
from gateway.edge.choice import may_repeat
from gateway.edge.services import EdgeServices, Passed
from gateway.edge.waiting_for import Waiting
from gateway.gate.request import RequestHead
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.edge.connection import ClientConnection
    from gateway.edge.pool import Pool
    from gateway.edge.upstream import UpstreamConnection


class Retrying(ABC):
    """An exchange, as far as it may be tried again."""

    __slots__ = (
        "_again", "_client", "_ended", "_pool", "_reused", "_services", "_tried", "request", "started", "verdict",
    )  # fmt: skip

    request: RequestHead
    verdict: Passed
    started: float  # monotonic seconds
    _client: ClientConnection
    _services: EdgeServices
    _pool: Pool
    _reused: bool  # its connection served another request before
    _again: bool  # it was sent once more
    _tried: tuple[Pool, ...]  # that did not take it
    _ended: bool

    @abstractmethod
    def upstream_ready(self, connection: UpstreamConnection, reused: bool) -> None:
        """Take a connection, and send."""

    @abstractmethod
    def _expect(self, waiting: Waiting, seconds: float) -> None: ...

    @abstractmethod
    def _fail(self, status: int, reason: Reason, detail: str = "") -> None: ...

    def upstream_refused(self, status: int, reason: Reason) -> None:
        """No connection: not a byte went out, so another upstream of the app may be asked."""
        if not self._ended and (reason is not Reason.APP_UNREACHABLE or not self._ask_again(elsewhere=True)):
            self._fail(status, reason)

    def _lost(self, reason: Reason, *, silent: bool) -> bool:
        """Return whether a request whose connection ended goes on; `silent`: not a byte of an answer had come."""
        stale = silent and self._reused  # the app may have closed it before the request came
        if not stale:
            self._pool.failed(reason, self.started, reached=True)
        if not silent or self._again or not may_repeat(self.request):
            return False
        self._again = True
        self._client.exchange_retries()
        return self._ask_again(elsewhere=not stale)

    def _ask_again(self, *, elsewhere: bool) -> bool:
        """Ask for a connection that nobody used before; return whether there is an upstream to ask."""
        if elsewhere:
            self._tried = (*self._tried, self._pool)
            pool = self._services.pools.elsewhere(self.verdict, self.request, self._tried)
            if pool is None:
                return False
            self._pool = pool
        self._expect(waiting_for.CONNECTION, self._pool.patience)
        self._pool.acquire(self, fresh=True)
        return True
