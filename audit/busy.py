"""Whether so much is recorded that the auditor should hash many records side by side.

What does that (`audit.verifying.sha256`, of the extra `verify`) takes a second to load and some 200 MB of memory: a
quiet city never needs it, and where it is not installed the plain way is taken.
"""

from __future__ import annotations

from typing import Final

RATE: Final = 2_000.0  # records a second
WINDOW: Final = 5.0  # seconds over which that many have to come


class Busy:
    """Counts records over windows of time."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._taken = 0

    def saw(self, taken: int, now: float) -> bool:
        """Count records taken in at `now` (monotonic seconds); return whether it is busy since a window or less."""
        if now - self._began >= WINDOW:
            self._began, self._taken = now, 0
        self._taken += taken
        return self._taken >= RATE * WINDOW
