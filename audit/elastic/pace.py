"""How much is sent at once, and over how many connections: grows while answers come quickly, shrinks when they do not.

Additive increase, multiplicative decrease, as TCP does (Chiu and Jain, 1989): several shippers and a cluster that has
other work find a share each without being told. Pure: what was seen comes in as arguments.
"""

from __future__ import annotations

from typing import Final

TARGET: Final = 0.5
"""Seconds an answer may take: four of them behind each other are the 2 s by which the copy may lag."""
START: Final = 512 * 1024
STEP: Final = 256 * 1024
FLOOR: Final = 32 * 1024  # bytes: smaller requests cost the cluster more than what they carry
CEILING: Final = 4 * 1024 * 1024  # bytes: beyond it a request is no quicker per document, and is lost as a whole
LANES: Final = 4  # requests under way at once: more only wait in the cluster's write queue
_SHRINK: Final = 0.7
_HALF: Final = 0.5


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
        """Take in that a request of `size` bytes was answered, and nothing of it was put off."""
        if seconds > TARGET:
            self.size = max(FLOOR, int(self.size * _SHRINK))
            self._lanes = max(1.0, self._lanes * _SHRINK)
            return
        if size * 2 >= self.size:  # a small one says nothing about a large one
            self.size = min(self._ceiling, self.size + STEP)
        self._lanes = min(float(LANES), self._lanes + 1.0 / self._lanes)

    def throttled(self) -> None:
        """Take in that the cluster had no room (429)."""
        self.size = max(FLOOR, int(self.size * _HALF))
        self._lanes = 1.0

    def too_large(self, size: int) -> None:
        """Take in that a request of `size` bytes was too large (413): none so large is tried again by this process."""
        self._ceiling = max(FLOOR, int(size * _HALF))
        self.size = min(self.size, self._ceiling)
