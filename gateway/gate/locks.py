"""Standing refusals: which lock, if any, is in force for one of several things."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.state.records import Lock
    from gateway.state.view import View


def standing_lock(view: View, places: Iterable[tuple[str, str]], wall: float) -> Lock | None:
    """Return the first lock in force at `wall` on any of `places` (target, id), in their order; None = no lock."""
    locks = view.locks
    for place in places:
        for lock in locks.get(place, ()):
            if lock.expires_at is None or lock.expires_at > wall:
                return lock
    return None
