"""Which sessions were used, and when: what the steward ends idle sessions by.

A page that polls is no person at work, so an app with `activity: navigation` counts only what a browser says is a
navigation. Clients that do not say (no Fetch Metadata) are programs in somebody's hand: each request counts. With
`activity: any` what a browser sends through a tunnel counts as its requests do; what the app sends by itself does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.gate.verdict import Forward

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.edge.services import Passed
    from gateway.gate.request import RequestHead

ANY = "any"


class Carrying(Protocol):
    """A live exchange, as far as its traffic is of interest."""

    request: RequestHead
    verdict: Passed
    request_bytes: int  # from the client


class SessionUse:
    """Last use by session since the last report; bounded by the number of live sessions."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._carried: dict[Carrying, int] = {}

    def forwarded(self, request: RequestHead, verdict: Forward, wall: float) -> None:
        """Note a forwarded request, if it counts as use."""
        if verdict.app.activity == ANY or request.find.get(b"sec-fetch-mode", b"navigate") == b"navigate":
            self._used[verdict.session.id] = wall

    def tunnelled(self, exchanges: Iterable[Carrying], wall: float) -> None:
        """Note the tunnels that carried something from the browser since the last look, where any traffic is use."""
        carried: dict[Carrying, int] = {}
        for exchange in exchanges:
            verdict = exchange.verdict
            if not (exchange.request.upgrade and isinstance(verdict, Forward) and verdict.app.activity == ANY):
                continue
            carried[exchange] = exchange.request_bytes
            if exchange.request_bytes > self._carried.get(exchange, 0):
                self._used[verdict.session.id] = wall
        self._carried = carried

    def take(self) -> dict[str, float]:
        """Return what was noted (session id to wall seconds) and begin anew."""
        used, self._used = self._used, {}
        return used
