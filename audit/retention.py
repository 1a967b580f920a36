"""How long records are kept: a class for each kind of writer, an age for each class. No I/O.

The classes follow what the records are for, not who asks: `access` is what staff did, `anonymous` what strangers tried,
`administration` what operators and the store changed, `system` how the processes and the proof itself fared.
A segment comes to the end of its retention as a whole, by the time of its last record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class RetentionClass(StrEnum):
    """Which records are kept equally long. Append only."""

    ACCESS = "access"
    ANONYMOUS = "anonymous"
    ADMINISTRATION = "administration"
    SYSTEM = "system"


_WRITERS: Final[tuple[tuple[re.Pattern[str], RetentionClass], ...]] = (
    (re.compile(r".*\.anonymous"), RetentionClass.ANONYMOUS),
    (re.compile(r"worker-\d+(\.\d+)?"), RetentionClass.ACCESS),
    (re.compile(r"control|steward"), RetentionClass.ADMINISTRATION),
    (re.compile(r"supervisor|auditor"), RetentionClass.SYSTEM),
)


def class_of(writer: str) -> RetentionClass | None:
    """Return a writer's class; None for one that is not known, whose records are never deleted."""
    return next((found for pattern, found in _WRITERS if pattern.fullmatch(writer)), None)


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds that the records of each class are kept; a class that is not named is kept for ever."""

    ages: Mapping[RetentionClass, float] = field(default_factory=dict)

    def age_of(self, writer: str) -> float | None:
        """Return how long this writer's records are kept, None for ever."""
        kind = class_of(writer)
        return None if kind is None else self.ages.get(kind)

    def ends(self, writer: str, last_at: float) -> float | None:
        """Return when a segment whose last record is of `last_at` comes to its end; None never."""
        age = self.age_of(writer)
        return None if age is None else last_at + age


def read_ages(given: list[str]) -> Retention:
    """Read `CLASS=SECONDS` texts; raises ValueError saying which is wrong and what is expected."""
    ages: dict[RetentionClass, float] = {}
    for text in given:
        name, _, seconds = text.partition("=")
        try:
            ages[RetentionClass(name)] = float(seconds)
        except ValueError:
            names = ", ".join(RetentionClass)
            raise ValueError(f"retention: got {text!r}, expected CLASS=SECONDS with CLASS one of {names}") from None
        if not ages[RetentionClass(name)] > 0:
            raise ValueError(f"retention: got {text!r}, expected more than 0 seconds")
    return Retention(ages)
