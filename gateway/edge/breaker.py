"""Passive health of one upstream: after so many failures in a row it is left alone for a growing time.

Pure: time comes in as an argument, in monotonic seconds. Closed, requests go there. Open, none does until `until`; then
one request probes, and the next one only after a longer time, so a probe that says nothing (its client left) blocks
nothing. An answer closes it. What began before the last change says nothing about now and is not heard: neither late
time-outs of requests sent before it opened, nor the last answers of a server that goes down.

The time doubles with each probe, and where it opens again soon after it closed, so an upstream that comes and goes
makes few changes. (Envoy's outlier detection lengthens an ejection with each one in the same way; nginx's
`fail_timeout` stays the same.)
"""

from __future__ import annotations

from typing import Final

_LONG_AGO: Final = float("-inf")
_DOUBLINGS: Final = 32  # beyond any bound that the settings allow


class Breaker:
    """The state of one upstream."""

    __slots__ = ("_first", "_level", "_longest", "_threshold", "calm", "failures", "open", "since", "until")

    def __init__(self, threshold: int, first: float, longest: float) -> None:
        """`threshold` failures in a row open it, for `first` seconds at first and `longest` at most."""
        self._threshold = threshold
        self._first = first
        self._longest = longest
        self._level = 0
        self.open = False
        self.calm = True  # closed, and no failure is counted: an answer changes nothing
        self.failures = 0  # in a row
        self.since = _LONG_AGO  # of the last change
        self.until = _LONG_AGO  # while open: when the next probe is due

    def admits(self, now: float) -> bool:
        """Whether a request may be sent there now."""
        return not self.open or now >= self.until

    def admit(self, now: float) -> bool:
        """As `admits`; where a probe is due, this request is it."""
        if not self.open:
            return True
        if now < self.until:
            return False
        self._level += 1
        self.until = now + self._time()
        return True

    def failed(self, now: float, began: float, *, may_open: bool = True) -> bool:
        """Count a failure of what `began` then; return whether this opened it. `may_open` False only counts."""
        if began < self.since:
            return False
        self.calm = False
        self.failures += 1
        if self.open:
            self.until = max(self.until, now + self._time())
            return False
        if not may_open or self.failures < self._threshold:
            return False
        self._level = self._level + 1 if now - self.since < self._longest else 0
        self.open = True
        self.since = now
        self.until = now + self._time()
        return True

    def answered(self, now: float, began: float) -> bool:
        """Take an answer to what `began` then, whatever it says; return whether this closed it."""
        if began < self.since:
            return False
        self.failures = 0
        self.calm = True
        if not self.open:
            return False
        self.open = False
        self.since = now
        return True

    def _time(self) -> float:
        doubled: float = self._first * 2 ** min(self._level, _DOUBLINGS)
        return min(self._longest, doubled)
