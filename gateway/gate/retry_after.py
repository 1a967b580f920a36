"""When somebody who was refused may come back: the seconds of a Retry-After (RFC 9110 §10.2.3).

Never earlier than the wait that is known, since who comes too early is refused again; and up to half of it later, by
chance, since clients that were refused in one moment would all be back in one moment. (Envoy's `rate_limited_retry_
back_off` adds as much to the interval that a server names, on the client's side, which here is a browser or somebody
else's program.) What was told for longer than a minute would mostly be over before: nobody is told more than 90 s.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from gateway.gate.reference import chance

UNKNOWN: Final = 5.0
"""Seconds where nobody knows when it will be better: a process is away, a disk does not write."""

_MOST: Final = 60


def retry_after(wait: float, request_id: str) -> int:
    """Return what to tell whoever could pass in `wait` seconds, ≤ 0 = not known; `request_id` brings the chance."""
    least = ceil(min(_MOST, wait if wait > 0 else UNKNOWN))
    return least + int(chance(request_id) * (least / 2 + 1))
