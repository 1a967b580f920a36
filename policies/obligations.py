"""What goes with an allow: the closed list of obligations and their strictest-wins merge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from policies.decision import Obligation

LOG: Final = "log"  # value "full" or "normal"
SESSION_MAX: Final = "session_max"  # value: whole seconds in decimal; the session ends at that age
NAMES: Final = (LOG, SESSION_MAX)
LOG_LEVELS: Final = ("normal", "full")  # strictest last


def merge_obligations(lists: Iterable[tuple[Obligation, ...]]) -> tuple[Obligation, ...]:
    """One obligation a name, the strictest value of each, sorted by name. Raises ValueError for an unknown name."""
    strictest: dict[str, tuple[int, Obligation]] = {}
    for obligations in lists:
        for item in obligations:
            rank = _strictness(item)
            if item.name not in strictest or rank > strictest[item.name][0]:
                strictest[item.name] = (rank, item)
    return tuple(strictest[name][1] for name in sorted(strictest))


def _strictness(item: Obligation) -> int:
    if item.name == LOG:
        return LOG_LEVELS.index(item.value)
    if item.name == SESSION_MAX:
        return -int(item.value)
    raise ValueError(f"obligation: got {item.name!r}, expected one of {NAMES}")
