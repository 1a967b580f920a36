"""How one rate is shared by the workers of one machine: the parts without an agreement, and the division by demand.

Pure: values in, values out. `leases` keeps the book with it, in the steward; a worker knows its own part (`Rate.part`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

Worker = TypeVar("Worker")

EVEN: Final = 0.5
"""Share of what is left that goes to all workers alike: where the next connection comes is not known."""

_SHORTEST_BURST: Final = 0.3
"""Seconds of its rate that a shared burst lasts at least: what comes in between two reports must have room."""

_HOP: Final = 0.2  # seconds of the rate that each worker may let pass as long as they are left: two reports
_HOPS: Final = 6.0  # seconds of the rate that all together may so be over it: a tenth of a minute


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` requests in the long run, `burst` at once."""

    per_second: float
    burst: float

    def shared(self, workers: int) -> Rate:
        """Return this rate as it holds over `workers` together: itself, but for a burst too short to be shared."""
        return self if workers == 1 else Rate(self.per_second, max(self.burst, self.per_second * _SHORTEST_BURST))

    def part(self, workers: int) -> Rate:
        """Return what each of `workers` may let pass without asking: together the rate, but at least a request each."""
        return Rate(self.per_second / workers, max(1.0, self.shared(workers).burst / workers))

    def least(self, workers: int) -> float:
        """Return the requests that each of `workers` may always let pass, as far as they are left (see `divide`)."""
        return max(1.0, self.per_second * min(_HOP, _HOPS / workers))


class Limit(Protocol):
    """A rate as settings hold it."""

    @property
    def per_second(self) -> float:
        """Requests a second in the long run."""

    @property
    def burst(self) -> float:
        """Requests at once."""


def rates_of(limits: Mapping[str, Limit]) -> dict[str, Rate]:
    """Return the rates that settings name, by what they limit: what the steward shares out is what workers take."""
    return {kind: Rate(limit.per_second, limit.burst) for kind, limit in limits.items()}


def divide(left: float, demands: Mapping[Worker, float], least: float) -> dict[Worker, float]:
    """Return how many of the requests `left` each worker may let pass: half of them alike, half by its recent demand.

    The sum is `left`, but for one thing: each may let pass `least`, as far as that much is left in all, for connections
    that hop from worker to worker faster than anybody can report. Where more than one does, less than nothing is left,
    and nobody gets any before it has come in again: the rate holds, and what is over at any time is below `least` each.

    No worker that asks for more gets less, and without any demand all get the same. `demands` are in requests, none
    below 0.
    """
    if left <= 0 or not demands:
        return dict.fromkeys(demands, 0.0)
    total = sum(demands.values())
    even, asked = (EVEN, left * (1 - EVEN)) if total > 0 else (1.0, 0.0)
    alike, floor, whole = left * even / len(demands), min(left, least), total or 1.0
    return {worker: max(floor, alike + asked * (demand / whole)) for worker, demand in demands.items()}
