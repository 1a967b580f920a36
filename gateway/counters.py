"""What one worker counts for `status`: numbers only, nothing about anybody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.gate.verdict import Verdict


@dataclass(slots=True)
class Counters:
    """Counted since the worker started."""

    requests: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    refused_unhealthy: int = 0  # refused because the decision could not be recorded
    completions_lost: int = 0  # completions and handshakes that could not be recorded
    internal_errors: int = 0
    asks_failed: int = 0  # questions to the steward without an answer in time

    def judged(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self.requests += 1
        name = type(verdict).__name__
        self.verdicts[name] = self.verdicts.get(name, 0) + 1

    def as_mapping(self) -> dict[str, int | dict[str, int]]:
        """Return the counts as JSON values."""
        return {
            "requests": self.requests,
            "verdicts": dict(self.verdicts),
            "refused_unhealthy": self.refused_unhealthy,
            "completions_lost": self.completions_lost,
            "internal_errors": self.internal_errors,
            "asks_failed": self.asks_failed,
        }
