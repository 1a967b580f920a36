"""Upstream connections that carry an identity of their own.

NTLM and Negotiate authenticate a connection, not a request (RFC 4559 §6): whoever sends the next request on it is
taken for the person who authenticated it. So such a connection serves one client connection and one app session, and
is closed when either ends or changes. It never goes back to a pool: not after a challenge, and not after credentials
either, for an app may take them in one leg and answer without a word of it (RFC 4559 §4.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.edge.response import ResponseHead, names_connection_scheme
from gateway.edge.upstream import UpstreamConnection
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward

if TYPE_CHECKING:
    from gateway.edge.pool import Pool


def offers_identity(request: RequestHead) -> bool:
    """Whether the request's credentials authenticate the connection that carries it."""
    credentials = request.find.get(b"authorization")
    return credentials is not None and names_connection_scheme(credentials)


class HeldUpstream:
    """The authenticated upstream connection of one client connection, if there is one."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: tuple[str, str, UpstreamConnection, Pool] | None = None

    def answered(
        self, verdict: Forward, request: RequestHead, head: ResponseHead, upstream: UpstreamConnection, pool: Pool
    ) -> None:
        """Keep `upstream`, which is one of `pool`, for this app session alone, if request or answer make it its own."""
        if not (head.authenticates_connection or offers_identity(request)):
            return
        if not self.has(upstream):
            self.close()
            pool.let_go(upstream)  # it stays while its client does: it must not count as a request at work
        self.held = (verdict.app.id, verdict.app_session_id, upstream, pool)

    def has(self, upstream: UpstreamConnection) -> bool:
        """Whether `upstream` is the one that must not go back to its pool."""
        return self.held is not None and self.held[2] is upstream

    def take(self, verdict: Forward) -> tuple[UpstreamConnection, Pool] | None:
        """Return connection and pool for a request of `verdict`'s app session; one of any other session is closed."""
        if self.held is None:
            return None
        app_id, app_session_id, upstream, pool = self.held
        same = app_id == verdict.app.id and app_session_id == verdict.app_session_id
        if same and upstream.transport is not None and not pool.closed:
            return upstream, pool
        self.close()
        return None

    def close(self) -> None:
        """End it."""
        if self.held is not None:
            self.held[2].discard()
            self.held = None
