"""Time limits without a timer per request: one sweep a worker looks at every connection's deadline.

The sweeper's `now` is a coarse clock, good to one period; whoever sets a deadline uses it and pays nothing.
A limit of 10 s therefore fires between 10.0 and 10.25 s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

NEVER = float("inf")
PERIOD = 0.25


class Limited(Protocol):
    """Something with a deadline in the sweeper's time."""

    deadline: float

    def on_deadline(self, now: float) -> None:
        """The deadline has passed: act, and set the next one or leave the sweeper."""


class Sweeper:
    """Calls `on_deadline` of everything registered whose deadline has passed."""

    def __init__(self, clock: Callable[[], float], work: Callable[[], float] = time.thread_time) -> None:
        """`clock` gives monotonic seconds, `work` the seconds of CPU that this thread has had."""
        self.now = clock()
        self.late = 0.0
        """By how many seconds the last sweep came later than it should."""
        self.busy = 0.0
        """The share of the time before it in which this thread had the CPU: little where others were the reason."""
        self._work = work
        self._before = self.now, work()
        self._clock = clock
        self._watched: dict[Limited, None] = {}
        self._periodic: list[tuple[float, Callable[[], None]]] = []
        self._next: list[float] = []
        self._handle: asyncio.TimerHandle | None = None

    def clock(self) -> float:
        """Return the exact time, where `now` is not good enough."""
        return self._clock()

    def add(self, item: Limited) -> None:
        """Watch `item` until it is removed."""
        self._watched[item] = None

    def remove(self, item: Limited) -> None:
        """Stop watching; unknown items are ignored."""
        self._watched.pop(item, None)

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something about every `seconds`, in the same sweep."""
        self._periodic.append((seconds, call))
        self._next.append(self.now + seconds)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin sweeping in `loop`."""
        self._before = self._clock(), self._work()
        self._handle = loop.call_later(PERIOD, self._tick, loop)

    def stop(self) -> None:
        """End sweeping."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_later(PERIOD, self._tick, loop)
        (began, had), (now, has) = self._before, (self._clock(), self._work())
        self._before = now, has
        self.late = max(now - began - PERIOD, 0.0)
        self.busy = (has - had) / max(now - began, PERIOD)
        self.sweep()

    def sweep(self) -> None:
        """Look at every deadline once, by the clock given."""
        now = self.now = self._clock()
        for item in [item for item in self._watched if item.deadline <= now]:
            item.on_deadline(now)
        for place, (seconds, call) in enumerate(self._periodic):
            if self._next[place] <= now:
                self._next[place] = now + seconds
                call()
