"""Which share of the requests to apps a worker refuses at once because it is late.

A worker that is asked for more than it can do still answers everything, only later and later, until people have left
before their answers come. So it watches how late its own sweep is, which is how long a request waits for its turn
(CoDel, RFC 8289, watches the same of a packet), and refuses as large a share of new requests as brings that down. It
must be late for some sweeps in a row, by its own work, before any is refused, and the share falls slowly: one long
pause, or another program's load, changes nothing, and a lasting overload does not flap. Our own pages, sign-in above
all, are never among them; nor is what the steward sends.
"""

from __future__ import annotations

from typing import Final

_PARTS: Final = 16
_UP: Final = 2  # parts more for each sweep that is late
_LATE_IN_A_ROW: Final = 3
_OWN_WORK: Final = 0.3  # share of the CPU's time below which it is not what the worker does that makes it late


class Overload:
    """The share of one worker, in sixteenths; at least one of sixteen requests is always served."""

    __slots__ = ("_behind", "_late", "_limit", "_owed", "share")

    def __init__(self, limit: float) -> None:
        """`limit`: seconds that the sweep may be late."""
        self._limit = limit
        self._behind = 0.0
        self._late = 0
        self._owed = 0
        self.share = 0
        """Of sixteen requests so many are refused; 0 = none, and nothing more has to be asked."""

    def swept(self, late: float, busy: float) -> None:
        """Enter by how many seconds the last sweep was late, and the share of the time that was the worker's own."""
        self._behind = late
        if late > self._limit and busy > _OWN_WORK:
            self._late += 1
            if self.share or self._late >= _LATE_IN_A_ROW:
                self.share = min(self.share + _UP, _PARTS - 1)
        else:
            self._late = 0
            if late < self._limit / 2 and self.share:
                self.share -= 1

    def recovery(self, each: float) -> float:
        """Return the seconds in which nobody is refused any more at the earliest: a part less with each sweep.

        Sweeps are meant to come every `each` seconds; they come as late as the last one did.
        """
        return self.share * (each + self._behind)

    def refuses(self) -> bool:
        """Whether the next request is one of those refused: they are spread evenly."""
        self._owed += self.share
        if self._owed < _PARTS:
            return False
        self._owed -= _PARTS
        return True
