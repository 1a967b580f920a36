"""Who waits for a connection to an upstream: in order, bounded in number and in time.

A queue in which everybody waits until the time is up serves nobody sooner and refuses late. So it watches how fast it
moves, and who would not have their turn in time is refused on arrival: the wait is bounded, not only the length (what
CoDel, RFC 8289, does with packets).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from gateway.edge.timeouts import NEVER

if TYPE_CHECKING:
    from gateway.edge.services import UpstreamBounds
    from gateway.edge.upstream import UpstreamConnection
    from policies.reasons import Reason

_SHARE: Final = 0.8  # of the longest wait: who expects more would often wait in vain
_TURNS: Final = 64  # over so many the speed is averaged


class Waiter(Protocol):
    """Somebody who wants a connection."""

    def upstream_ready(self, connection: UpstreamConnection, reused: bool) -> None:
        """Here it is; it is yours until you give it back."""

    def upstream_refused(self, status: int, reason: Reason) -> None:
        """There is none."""


class Place(NamedTuple):
    """Somebody who waits."""

    waiter: Waiter
    fresh: bool  # it takes no connection that served another request
    until: float  # monotonic seconds


class Queue:
    """Those who wait, longest first."""

    __slots__ = ("_bounds", "_moved", "_places", "_turn", "_turns")

    def __init__(self, bounds: UpstreamBounds) -> None:
        self._bounds = bounds
        self._places: deque[Place] = deque()
        self._moved = 0.0  # when it last moved, or began
        self._turn = 0.0  # seconds between two turns, on the average
        self._turns = 0

    def __len__(self) -> int:
        return len(self._places)

    @property
    def first(self) -> Place:
        """Whose turn is next; raises IndexError where nobody waits."""
        return self._places[0]

    @property
    def deadline(self) -> float:
        """When the first one has waited too long."""
        return self._places[0].until if self._places else NEVER

    def admits(self, now: float) -> bool:
        """Whether one more may wait: there is room, and its turn is likely to come in time.

        An empty queue takes one whatever was before: else nothing would show that an app is fast again. One that has
        not moved for a while is no faster than as many turns in that time as requests are at work.
        """
        waiting, bounds = len(self._places), self._bounds
        if not waiting:
            return bounds.queue > 0
        turn = max(self._turn, (now - self._moved) / bounds.connections)
        return waiting < bounds.queue and waiting * turn < _SHARE * bounds.queue_wait

    def enter(self, waiter: Waiter, fresh: bool, now: float) -> None:
        """Let one more wait; `now` in monotonic seconds, here as everywhere."""
        if not self._places:
            self._moved = now
        self._places.append(Place(waiter, fresh, now + self._bounds.queue_wait))

    def next(self, now: float) -> Waiter:
        """Take out whose turn it is; raises IndexError where nobody waits."""
        waiter = self._places.popleft().waiter
        self._turns = min(self._turns + 1, _TURNS)
        self._turn += (now - self._moved - self._turn) / self._turns
        self._moved = now
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Take out one who left, if it waits."""
        for place in self._places:
            if place.waiter is waiter:
                self._places.remove(place)
                return

    def overdue(self, now: float) -> Waiter | None:
        """Take out one who has waited too long, None = nobody has."""
        return self._places.popleft().waiter if self._places and self._places[0].until <= now else None

    def empty(self) -> list[Waiter]:
        """Take out all, in their order."""
        waiters = [place.waiter for place in self._places]
        self._places.clear()
        return waiters
