"""How much is sent at once, and over how many connections: grows while answers come quickly, shrinks when they do not.

Additive increase, multiplicative decrease, as TCP does (Chiu and Jain, 1989): several shippers and a cluster that has
other work find a share each without being told. Pure: what was seen comes in as arguments.
"""

from __future__ import annotations

from typing import Final

TARGET: Final = 1.0
"""Seconds an answer may take: with as much again for what is gathered, the copy lags less than 2 s."""
SLOW: Final = 2.0  # seconds: from here on less is sent at once
START: Final = 512 * 1024
STEP: Final = 256 * 1024
FLOOR: Final = 64 * 1024  # bytes, for a cluster that has no room
CEILING: Final = 4 * 1024 * 1024  # bytes: beyond it a request is no quicker per document, and is lost as a whole
LANES: Final = 4  # requests under way at once: more only wait in the cluster's write queue
_SHRINK: Final = 0.7
_HALF: Final = 0.5
_FEW: Final = 2.0


class Pace:
    """The bounds of the next request: `size` in bytes of uncompressed body, `lanes` requests at once."""

    __slots__ = ("_ceiling", "_lanes", "size")

    def __init__(self) -> None:
        self.size = START
        self._ceiling = CEILING
        self._lanes = 2.0

    @property
    def lanes(self) -> int:
        """How many requests may be under way at once."""
        return int(self._lanes)

    def answered(self, size: int, seconds: float) -> None:
        """Take in that a request of `size` bytes was answered, and nothing of it was put off.

        For slowness alone no less is sent than at the start: where a machine is short of time, small requests cost it
        more than what they carry, and answers would only come later.
        """
        if seconds > SLOW:
            self.size = max(min(START, self.size), int(self.size * _SHRINK))
            self._lanes = max(min(_FEW, self._lanes), self._lanes * _SHRINK)
        if size * 2 >= self.size and (seconds <= TARGET or self.size < START):  # a small one tells nothing of a large
            self.size = min(self._ceiling, self.size + STEP)
        if seconds <= TARGET or self._lanes < _FEW:
            self._lanes = min(float(LANES), self._lanes + 1.0 / self._lanes)

    def throttled(self) -> None:
        """Take in that the cluster had no room (429)."""
        self.size = max(FLOOR, int(self.size * _HALF))
        self._lanes = 1.0

    def too_large(self, size: int) -> None:
        """Take in that a request of `size` bytes was too large (413): none so large is tried again by this process."""
        self._ceiling = max(FLOOR, int(size * _HALF))
        self.size = min(self.size, self._ceiling)
