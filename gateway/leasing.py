"""A worker's part in sharing rates: what its names ask for is reported at most each 100 ms, what it may take applied.

One report is under way at a time. An answer that does not come in half a second leaves the worker alone with its part
of every rate; a lost connection does so at once. Nothing runs while no name is near the end of its part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.gate.leased import LeasedBuckets

if TYPE_CHECKING:
    from gateway.state.leasing import Timers

EACH: Final = 0.1  # seconds between two reports
OVERDUE: Final = 0.5  # seconds without an answer
_EARLY: Final = 0.005  # seconds: a loop's clock may be that coarse
_NAMES: Final = 256  # in one report; what is more waits for the next one

Say = Callable[[dict[str, Any]], bool]


class Leasing:
    """Reports of all kinds of names over one connection. Used from the worker's loop only."""

    def __init__(self, buckets: Mapping[str, LeasedBuckets], say: Say, timers: Timers) -> None:
        """`buckets` by kind; `say` sends one message to the steward and returns whether there is a connection."""
        self._buckets = buckets
        self._say = say
        self._timers = timers
        self._said_at = float("-inf")
        self._awaiting = False
        self._scheduled = False
        self._urgent = False  # the steward has asked: it shares out nothing of a name before it knows what was taken
        self.lapses = 0  # times without an answer
        for each in buckets.values():
            each.wake = self.wake

    @property
    def held(self) -> int:
        """How many names are shared out now."""
        return sum(each.held for each in self._buckets.values())

    def wake(self) -> None:
        """Report soon: at once if the last report is long enough ago, after its answer in any case."""
        if not self._awaiting and not self._scheduled:
            self._scheduled = True
            self._timers.call_at(max(self._timers.time(), self._said_at + EACH), self._due)

    def _due(self) -> None:
        self._scheduled = False
        if self._timers.time() < self._said_at + EACH - _EARLY:
            self.wake()  # something urgent went out meanwhile
        elif not self._awaiting:
            self._report()

    def _report(self) -> None:
        self._urgent = False
        now = self._timers.time()
        names: list[list[object]] = []
        for kind, buckets in self._buckets.items():
            names += [[kind, *each] for each in buckets.report(_NAMES - len(names), now)]
        if not names:
            return
        self._said_at = now
        if not self._say({"t": "want", "of": names}):
            for buckets in self._buckets.values():
                buckets.lost(now)
            return
        self._awaiting = True
        self._timers.call_at(now + OVERDUE, lambda: self._overdue(now))

    def _overdue(self, said_at: float) -> None:
        if self._awaiting and self._said_at == said_at:
            self.lapses += 1
            for buckets in self._buckets.values():
                buckets.alone(self._timers.time())

    def told(self, message: Mapping[str, Any]) -> None:
        """Apply what the steward says. Raises KeyError, TypeError or ValueError for what is no message of ours."""
        now = self._timers.time()
        for kind, name, limit, wait in message["names"]:
            self._urgent |= self._buckets[kind].give(name, limit, wait, now)
        for kind, name in message["over"]:
            self._buckets[kind].over(name, now)
        if message["answers"]:
            self._awaiting = False
            for buckets in self._buckets.values():
                buckets.answered()
        if self._urgent and not self._awaiting:
            self._report()
        elif any(buckets.waiting for buckets in self._buckets.values()):
            self.wake()

    def lost(self) -> None:
        """The connection to the steward ended."""
        self._awaiting = self._urgent = False
        for buckets in self._buckets.values():
            buckets.lost(self._timers.time())
