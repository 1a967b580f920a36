"""Which sessions were used, and when: what the steward ends idle sessions by.

A page that polls is no person at work, so an app with `activity: navigation` counts only what a browser says is a
navigation. Clients that do not say (no Fetch Metadata) are programs in somebody's hand: each request counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.gate.request import RequestHead
    from gateway.gate.verdict import Forward

ANY = "any"


class SessionUse:
    """Last use by session since the last report; bounded by the number of live sessions."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}

    def forwarded(self, request: RequestHead, verdict: Forward, wall: float) -> None:
        """Note a forwarded request, if it counts as use."""
        if verdict.app.activity == ANY or request.find.get(b"sec-fetch-mode", b"navigate") == b"navigate":
            self._used[verdict.session.id] = wall

    def take(self) -> dict[str, float]:
        """Return what was noted (session id to wall seconds) and begin anew."""
        used, self._used = self._used, {}
        return used
