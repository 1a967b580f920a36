"""Buckets of a rate that several workers share: each has its part, and more of it by leave of the steward.

A name that asks little has a bucket of this worker's part of the rate, and the steward never hears of it. Once half of
that is used the name is reported, and from the answer on the worker takes from what it was given (`Held`) until the
steward says that it is over. Without an answer it is the part again: the parts of all workers are the rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf
from typing import Final

from gateway.gate.limits import EMPTY, Buckets, Rate

_NEAR: Final = 0.5  # of the part's burst: what is used of it before a name is reported
_HOT_KEPT: Final = 1024  # names that wait to be reported; others stay at their parts
_WHOLE: Final = 1e-6  # less than this missing is a whole request


@dataclass(slots=True)
class Held:
    """What this worker may take of one name; counted from when it was first given some."""

    taken: float
    reported: float
    limit: float  # `taken` never goes beyond it
    wait: float = 1.0  # seconds until more may be left, as the steward said
    asked: int = 0  # since the last report
    alone_at: float | None = None  # without an answer since: the part is given out here, up to this time so far


class LeasedBuckets(Buckets):
    """The buckets of one kind of names. `wake` is called when there is something to report."""

    __slots__ = ("_asking", "_held", "_hot", "_part", "_said", "wake")

    def __init__(self, rate: Rate, workers: int, capacity: int) -> None:
        """`rate` is the whole machine's, shared by `workers` ≥ 2; `capacity` as in `Buckets`."""
        part = rate.part(workers)
        super().__init__(part, capacity)
        self._part = part
        self._edge = min(EMPTY, (part.burst * _NEAR - part.burst + 1) * self._interval)
        self.wake: Callable[[], object] = _nobody_shares
        self._hot: dict[str, None] = {}  # near the end of their part, not reported yet
        self._said: dict[str, float] = {}  # requests that were reported of them, until the answer
        self._held: dict[str, Held] = {}
        self._asking: dict[str, Held] = {}  # held and asked for since the last report, or never reported

    @property
    def held(self) -> int:
        """How many names are shared out now."""
        return len(self._held)

    def _beyond(self, name: str, ahead: float, mono: float) -> int:
        held = self._held.get(name)
        if held is not None:
            return self._take_held(name, held, mono)
        if name not in self._hot and name not in self._said and len(self._hot) < _HOT_KEPT:
            self._hot[name] = None
            self.wake()
        if ahead > EMPTY:
            self.refused += 1
            return ceil(ahead)
        self._full_at[name] += self._interval
        return 0

    def _take_held(self, name: str, held: Held, mono: float) -> int:
        held.asked += 1
        if held.asked == 1:
            self._asking[name] = held
            self.wake()
        if held.alone_at is not None:
            given = held.limit + (mono - held.alone_at) * self._part.per_second
            held.limit = min(given, held.taken + self._part.burst)
            held.alone_at = mono
        if held.taken + 1 <= held.limit + _WHOLE:
            held.taken += 1
            return 0
        self.refused += 1
        return max(1, ceil(held.wait))

    # -- what is said -------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether there is something to report."""
        return bool(self._hot or self._asking)

    def report(self, most: int, mono: float) -> list[tuple[str, float, float]]:
        """Return at most `most` names, each with the requests let pass and asked for since its last report."""
        said = []
        for name in list(self._asking)[:most]:
            held = self._asking.pop(name)
            said.append((name, held.taken - held.reported, float(held.asked)))
            held.reported, held.asked = held.taken, 0
        for name in list(self._hot)[: most - len(said)]:
            del self._hot[name]
            used = self._said[name] = self._used(name, mono)
            said.append((name, used, max(1.0, used)))
        return said

    def answered(self) -> None:
        """The last report's answer was read: what it did not name may be reported again."""
        self._said.clear()

    def _used(self, name: str, mono: float) -> float:
        return max(0.0, self._full_at.get(name, mono) - mono) / self._interval

    # -- what is given ------------------------------------------------------------------------------------------------

    def give(self, name: str, limit: float, wait: float, mono: float) -> bool:
        """Let `name` pass up to `limit` requests in all. Returns whether the steward has to hear of it at once."""
        held = self._held.get(name)
        if held is not None:
            held.limit, held.wait, held.alone_at = limit, wait, None
            return False
        reported = self._said.pop(name, None)
        taken = max(self._used(name, mono), reported or 0.0)
        held = self._held[name] = Held(taken, reported or 0.0, limit, wait)
        self._full_at[name] = inf  # every request for it is over the edge now
        self._hot.pop(name, None)
        if reported is None:
            self._asking[name] = held
        return reported is None

    def over(self, name: str, mono: float) -> None:
        """Go back to the part: nobody asks for this name any more, and its burst is full again."""
        held = self._held.pop(name, None)
        self._asking.pop(name, None)
        if held is not None:
            self._keep_used(name, held.taken - held.reported, mono)

    def alone(self, mono: float) -> None:
        """The steward does not answer: from now on give out the part here, and no more of what was given than it."""
        for held in self._held.values():
            if held.alone_at is None:
                held.limit = min(held.limit, held.taken + self._part.burst)
                held.alone_at = mono

    def lost(self, mono: float) -> None:
        """The connection to the steward is lost, and with it what was agreed: go back to the parts."""
        for name, held in self._held.items():
            self._keep_used(name, self._part.burst - max(0.0, held.limit - held.taken), mono)
        for forgotten in (self._held, self._asking, self._hot, self._said):
            forgotten.clear()

    def _keep_used(self, name: str, used: float, mono: float) -> None:
        if used > 0:
            self._full_at[name] = mono + used * self._interval
        else:
            self._full_at.pop(name, None)

    def _forget(self, mono: float) -> None:
        super()._forget(mono)
        self._full_at.update(dict.fromkeys(self._held, inf))


def _nobody_shares() -> None:
    """Stand in for the steward until somebody reports to it: the part is all there is."""
