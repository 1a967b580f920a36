"""When a worker is old enough to be replaced by a fresh one. Pure.

One at a time, the oldest first, the next only when the former has drained: what a process loses over weeks (memory in
pieces, a leak in a library) is given back without two slots ever being short at once.
"""

from __future__ import annotations

from collections.abc import Mapping


def due(ages: Mapping[str, float], limit: float, *, draining: bool) -> str | None:
    """Return the name of the worker whose turn it is, None for nobody.

    `ages` in seconds by name, of those that serve; `limit` in seconds, 0 = workers are never old; `draining`: somebody
    still leaves.
    """
    if draining or not limit or not ages:
        return None
    name = max(ages, key=lambda each: ages[each])
    return name if ages[name] >= limit else None
