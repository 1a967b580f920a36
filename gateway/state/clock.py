"""The time by which sessions and locks end: it never runs back, and it does not believe a sudden leap forwards.

The wall clock is compared with CLOCK_BOOTTIME (time since boot, suspended time included), which nobody can set.
A wall clock set back is carried on by the boot clock, so no session gets longer. One that leaps more than ten minutes
ahead is not followed: `jumped` stays set, workers refuse, until an operator accepts the new time. The high-water mark
is kept in the store, so a restart does not forget it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LEAP = 600.0  # seconds ahead of the boot clock that are still believed


@dataclass(frozen=True, slots=True)
class Mark:
    """What is remembered over restarts: the latest time given out, and the boot clock's reading then."""

    time: float
    boot: float
    boot_id: str


def boot_clock() -> float:
    """Seconds since boot, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's name for this boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


class SteadyClock:
    """The steward's clock. `wall` and `boot` are the clocks it compares, in seconds."""

    def __init__(
        self, mark: Mark | None, boot_name: str, wall: Callable[[], float] = time.time,
        boot: Callable[[], float] = boot_clock,
    ) -> None:  # fmt: skip
        """Go on from `mark`; after a reboot only a step back can be seen, as the boot clock began anew."""
        self._wall = wall
        self._boot = boot
        self._boot_name = boot_name
        self._ahead = wall() - boot()  # time = boot clock + this
        if mark is not None:
            same_boot = mark.boot_id == boot_name
            self._ahead = mark.time - mark.boot if same_boot else max(self._ahead, mark.time - boot())
        self._believed = self._ahead  # as far as an operator, the boot or the mark vouches for
        self._leap = 0.0

    @property
    def jumped(self) -> bool:
        """Whether the wall clock stands so far ahead that it is not believed."""
        return self._leap > LEAP

    @property
    def leap(self) -> float:
        """Seconds that the wall clock is ahead of what is believed; negative when it was set back."""
        return self._leap

    def now(self) -> float:
        """Seconds since the epoch; never less than an earlier answer."""
        boot = self._boot()
        offset = self._wall() - boot
        self._leap = offset - self._believed
        if self._leap <= LEAP:
            self._ahead = max(self._ahead, offset)
        return boot + self._ahead

    def mark(self) -> Mark:
        """What to remember now."""
        return Mark(self.now(), self._boot(), self._boot_name)

    def accept(self) -> float:
        """An operator vouches for the wall clock: go on from it (never back). Returns the accepted leap in seconds."""
        leap, offset = self._leap, self._wall() - self._boot()
        self._ahead = max(self._ahead, offset)
        self._believed = offset
        self._leap = 0.0
        return leap
