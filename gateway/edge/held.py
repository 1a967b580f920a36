"""Upstream connections that carry an identity of their own.

NTLM and Negotiate authenticate a connection, not a request (RFC 4559 §6): whoever sends the next request on it is
taken for the person who authenticated it. So such a connection serves one client connection and one app session, and
is closed when either ends or changes. It never goes back to a pool.
"""

from __future__ import annotations

from gateway.edge.upstream import UpstreamConnection
from gateway.gate.verdict import Forward


class HeldUpstream:
    """The authenticated upstream connection of one client connection, if there is one."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: tuple[str, str, UpstreamConnection] | None = None

    def keep(self, verdict: Forward, upstream: UpstreamConnection) -> None:
        """Keep `upstream` for this app session alone."""
        if not self.has(upstream):
            self.close()
        self._held = (verdict.app.id, verdict.app_session_id, upstream)

    def has(self, upstream: UpstreamConnection) -> bool:
        """Whether `upstream` is the one that must not go back to its pool."""
        return self._held is not None and self._held[2] is upstream

    def take(self, verdict: Forward) -> UpstreamConnection | None:
        """Return the connection for a request of `verdict`'s app session; one of any other session is closed."""
        if self._held is None:
            return None
        app_id, app_session_id, upstream = self._held
        if app_id == verdict.app.id and app_session_id == verdict.app_session_id and upstream.transport is not None:
            return upstream
        self.close()
        return None

    def close(self) -> None:
        """End it."""
        if self._held is not None:
            self._held[2].discard()
            self._held = None
