"""The steward's book of rates that several workers share: for each name that is asked for a lot, who may take how much.

A name is in the book from the first report that somebody uses it up until it is full again and nobody asks. Before
and after, each worker keeps to its own part (`Rate.part`) and nobody is told anything. What is in the book is held by
exactly one: taken, held by a worker, or left. A worker that has not answered yet, or has no connection, may be using
its part, so that is set aside. Pure: time comes in, and what is to be told goes out. Compare Envoy's rate limit
quota service, whose assignments are reported on and fall back to a local rate in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.state.shares import Rate, divide

HALF_LIFE: Final = 0.1  # seconds in which what a worker asked for counts half
_QUIET: Final = 0.05  # requests: less demand than that is none
_FULL: Final = 1e-6

Key = tuple[str, int]
"""A worker: its name and process id."""

Name = tuple[str, str]
"""What is limited: "address", "user" or "session", and which."""


@dataclass(slots=True)
class Hold:
    """What one worker has of one name, in requests since it was first heard about it."""

    taken: float = 0.0
    demand: float = 0.0
    asked_at: float = 0.0


@dataclass(slots=True)
class Lease:
    """One name in the book."""

    left: float  # of the burst, less what is held; below 0 where workers took at the same time
    at: float  # monotonic seconds at which `left` was right
    holds: dict[Key, Hold] = field(default_factory=dict)  # those that have told what they took
    told: set[Key] = field(default_factory=set)  # those that know that the name is shared out


@dataclass(slots=True)
class Tidings:
    """What one worker is told in one round."""

    names: list[list[Any]] = field(default_factory=list)  # kind, name, limit in all, seconds until more is left
    over: list[Name] = field(default_factory=list)  # names that are its own part's again


class Leases:
    """All names that are shared out now, at most `capacity`: others stay at the parts, which are never open."""

    def __init__(self, rates: dict[str, Rate], workers: int, capacity: int) -> None:
        """`rates` by kind, as set for the machine; `workers` ≥ 1 is how many share them."""
        self._rates = {kind: rate.shared(workers) for kind, rate in rates.items()}
        self._parts = {kind: rate.part(workers) for kind, rate in rates.items()}
        self._least = {kind: rate.least(workers) for kind, rate in rates.items()}
        self._workers = workers
        self._capacity = capacity
        self._book: dict[Name, Lease] = {}
        self._connected: dict[Key, bool] = {}  # the workers that serve; False: without a connection
        self._present = 1.0  # share of the rate that is not set aside for workers without a connection
        self._changed: set[Name] = set()
        self.crowded = 0  # reports of names that the book had no room for

    def __len__(self) -> int:
        """Return how many names are shared out."""
        return len(self._book)

    # -- workers ------------------------------------------------------------------------------------------------------

    def joined(self, worker: Key) -> None:
        """Count a worker in that serves from now on, or again after its connection was lost.

        One that was never here has let nothing pass yet: nothing of any name is its part, so a reload brings nobody
        another burst of what is in the book.
        """
        if worker not in self._connected:
            for lease in self._book.values():
                lease.holds[worker] = Hold(asked_at=lease.at)
        self._connected[worker] = True
        self._count_present()
        self._changed.update(self._book)

    def left(self, worker: Key, *, dead: bool) -> None:
        """Count on a worker's using its parts while it has no connection; on nothing once it is dead."""
        if dead:
            self._connected.pop(worker, None)
        else:
            self._connected[worker] = False
        self._count_present()
        for name, lease in self._book.items():
            lease.told.discard(worker)
            if lease.holds.pop(worker, None) is not None:
                self._changed.add(name)

    def _count_present(self) -> None:
        away = sum(not connected for connected in self._connected.values())
        self._present = max(0.0, 1 - away / self._workers)

    # -- what they say ------------------------------------------------------------------------------------------------

    def heard(self, worker: Key, reports: Iterable[tuple[str, str, float, float]], now: float) -> None:
        """Book one worker's reports: kind, name, requests let pass and asked for since its last one.

        Raises KeyError for a kind that has no rate.
        """
        for kind, name, taken, asked in reports:
            lease = self._lease((kind, name), now)
            if lease is None:
                continue
            hold = lease.holds.setdefault(worker, Hold(asked_at=now))
            lease.told.add(worker)
            hold.taken += taken
            lease.left -= taken
            hold.demand = _faded(hold, now) + asked
            hold.asked_at = now
            self._changed.add((kind, name))

    def _lease(self, name: Name, now: float) -> Lease | None:
        rate = self._rates[name[0]]
        lease = self._book.get(name)
        if lease is None:
            if len(self._book) >= self._capacity:
                self.crowded += 1
                return None
            lease = self._book[name] = Lease(rate.burst, now)
        lease.left = min(rate.burst, lease.left + rate.per_second * self._present * max(0.0, now - lease.at))
        lease.at = now
        return lease

    # -- what they are told -------------------------------------------------------------------------------------------

    def round(self, now: float, *, every: bool = False) -> dict[Key, Tidings]:
        """Share out again what changed since the last round, or `every` name; return what each worker is to be told."""
        told: dict[Key, Tidings] = {key: Tidings() for key, connected in self._connected.items() if connected}
        for name in tuple(self._book) if every else self._changed:
            lease = self._lease(name, now) if name in self._book else None
            if lease is None:
                continue
            rate = self._rates[name[0]]
            if lease.left >= rate.burst - _FULL and all(_faded(hold, now) < _QUIET for hold in lease.holds.values()):
                del self._book[name]
                for key in lease.told & told.keys():
                    told[key].over.append(name)
            else:
                self._share(name, lease, told, now)
        self._changed.clear()
        return told

    def _share(self, name: Name, lease: Lease, told: dict[Key, Tidings], now: float) -> None:
        part, rate = self._parts[name[0]], self._rates[name[0]]
        silent = sum(key not in lease.holds for key in self._connected)
        left = lease.left - silent * part.burst
        shares = divide(left, {key: _faded(hold, now) for key, hold in lease.holds.items()}, self._least[name[0]])
        wait = max(0.0, 1 - lease.left) / rate.per_second
        for key, tidings in told.items():
            hold = lease.holds.get(key)
            if hold is not None:
                tidings.names.append([*name, round(hold.taken + shares[key], 6), round(wait, 3)])
                lease.told.add(key)
            elif key not in lease.told:
                tidings.names.append([*name, part.burst, round(wait, 3)])
                lease.told.add(key)


def _faded(hold: Hold, now: float) -> float:
    """Return what a worker's demand counts now."""
    return float(hold.demand * 0.5 ** (max(0.0, now - hold.asked_at) / HALF_LIFE))
