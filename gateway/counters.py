"""What one worker counts for `status`: numbers only, nothing about anybody."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Counted since the worker started."""

    verdicts: defaultdict[type, int] = field(default_factory=lambda: defaultdict(int))
    refused_unhealthy: int = 0  # refused because the decision could not be recorded
    completions_lost: int = 0  # completions, progress and handshakes that could not be recorded
    internal_errors: int = 0
    asks_failed: int = 0  # questions to the steward without an answer in time
    reached: Counter[str] = field(default_factory=Counter)  # bounds that clients ran into, by the setting's name

    def as_mapping(self) -> dict[str, int | dict[str, int]]:
        """Return the counts as JSON values."""
        return {
            "requests": sum(self.verdicts.values()),
            "verdicts": {verdict.__name__: count for verdict, count in self.verdicts.items()},
            "refused_unhealthy": self.refused_unhealthy,
            "completions_lost": self.completions_lost,
            "internal_errors": self.internal_errors,
            "asks_failed": self.asks_failed,
            "reached": dict(self.reached),
        }
