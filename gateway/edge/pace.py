"""How fast a client has to bring, or take, what belongs to one request.

A plain limit on silence cuts a person in a tunnel and keeps an attacker who sends one byte now and then. So bytes buy
time instead (Apache's `RequestReadTimeout body=10,MinRate=500`, Kestrel's `MinRequestBodyDataRate`): a client begins
with a few seconds, each byte adds its share at the least rate, and what was saved up never lasts longer than one pause.
"""

from __future__ import annotations


class Pace:
    """The time that one client has left."""

    __slots__ = ("_pause", "_rate", "until")

    def __init__(self, rate: int, grace: float, pause: float, now: float) -> None:
        """`rate` in bytes/s; `grace` s to begin with; `pause` s at most from any moment on."""
        self._rate = rate
        self._pause = pause
        self.until = now + min(grace, pause)
        """When the time is up, should nothing more move."""

    def moved(self, size: int, now: float) -> bool:
        """Enter `size` bytes that moved since the last call; whether the client still has time."""
        self.until = min(self.until + size / self._rate, now + self._pause)
        return now < self.until
