"""What a person sees while a measurement runs: a line for each round, on standard error beside a part's JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator


def rounds(name: str, count: int) -> Iterator[int]:
    """Yield the number of each round from 0 on, and tell when it is done."""
    begun = time.monotonic()
    for place in range(count):
        yield place
        step(f"{name} {place + 1}/{count}", time.monotonic() - begun)


def step(what: str, seconds: float | None = None) -> None:
    """Tell that something is done, and how long it took where that is known."""
    took = "" if seconds is None else f"  ({spelt(seconds)})"
    print(f"  {what}{took}", file=sys.stderr, flush=True)


def spelt(seconds: float) -> str:
    """A duration for people: `48 s`, `7 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
