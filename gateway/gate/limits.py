"""Token buckets: how often one address, one user and one session may ask.

A bucket is one number, the time at which it would be full again (the generic cell rate algorithm of ITU-T I.371,
also RFC 2697's meter with one rate). The judge only sees the outcome: `Limits`, a value. Where several workers share
a rate, `leased` has their buckets.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from gateway.state.shares import Rate

__all__ = ["OPEN", "SETTLED", "Buckets", "Limits", "Rate"]

EMPTY: Final = 1e-9  # seconds beyond its burst at which a bucket is empty: what is less is rounding


@dataclass(frozen=True, slots=True)
class Limits:
    """Outcome of the buckets for one request: seconds to wait, 0 = go on.

    `settled` says that the steward was already asked about this request's token (or may not be asked any more),
    so that an unknown token now counts as no session.
    """

    address_wait: int = 0
    principal_wait: int = 0
    settled: bool = False


OPEN = Limits()
SETTLED = Limits(settled=True)


class Buckets:
    """One bucket for each name, all of one rate, at most `capacity` of them.

    A full table first forgets the buckets that are full again (forgetting those changes nothing), then the oldest half:
    a flood of names can make the table forget, but never grow, and each name still pays from its next request on.
    """

    __slots__ = ("_capacity", "_edge", "_full_at", "_interval", "_tolerance", "refused")

    def __init__(self, rate: Rate, capacity: int) -> None:
        """`capacity` ≥ 2 names are kept. Raises ValueError for a rate that would never let anyone pass."""
        if rate.per_second <= 0 or rate.burst < 1 or capacity < 2:
            raise ValueError("a bucket needs a rate above 0, a burst of at least 1 and room for 2 names")
        self._interval = 1.0 / rate.per_second
        self._tolerance = (rate.burst - 1) * self._interval
        self._edge = EMPTY
        self.refused = 0
        self._capacity = capacity
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many names are kept."""
        return len(self._full_at)

    def take(self, name: str, mono: float) -> int:
        """Take one token at monotonic time `mono`: 0 when there was one, else the whole seconds to wait (≥ 1)."""
        table = self._full_at
        full_at = table.get(name)
        if full_at is None:
            if len(table) >= self._capacity:
                self._forget(mono)
                table = self._full_at
            table[name] = mono + self._interval
            return 0
        if full_at > mono:
            ahead = full_at - mono - self._tolerance
            if ahead > self._edge:
                return self._beyond(name, ahead, mono)
            table[name] = full_at + self._interval
        else:
            table[name] = mono + self._interval
        return 0

    def _beyond(self, name: str, ahead: float, mono: float) -> int:
        """Answer for a bucket that is over the edge; `ahead` is by how many seconds it is more than empty."""
        del name, mono
        self.refused += 1
        return ceil(ahead)

    def _forget(self, mono: float) -> None:
        kept = {name: full_at for name, full_at in self._full_at.items() if full_at > mono}
        if len(kept) > self._capacity // 2:
            kept = dict(list(kept.items())[len(kept) // 2 :])
        self._full_at = kept
