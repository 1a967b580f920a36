"""`sekisho doctor`: looks at one installation on its own machine and says what is wrong and what to do about it.

Reads only, but for one nameless file that a disk's speed is measured with. Needs no sign-in: whoever may read the keys
may run it. What it cannot look at is a fault, never left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from gateway.doctor_parts import certificates, files, machine, room, running, services
from gateway.doctor_parts.finding import Finding, State, Told, fault
from gateway.settings import Settings

__all__ = ["Finding", "State", "examine"]


def examine(
    settings: Settings, now: float, *, offline: bool = False, clock: Callable[[], float] = time.monotonic
) -> Iterator[Finding]:
    """Yield what is found, as it is found; `offline` leaves the services of others out."""
    looks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("files", lambda: files.examine(settings)),
        ("certificates", lambda: certificates.examine(settings, now)),
        ("room", lambda: room.examine(settings, clock)),
        ("machine", lambda: machine.examine(settings)),
        ("running", lambda: running.examine(settings)),
    ]
    if not offline:
        looks.append(("services", lambda: services.examine(settings, now)))
    for name, look in looks:
        yield from _guarded(name, look)


def _guarded(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001  # what could not be looked at is not well
        text = f"{type(error).__name__}: {error}"
        yield fault(
            name,
            Told(f"調べられません: {text}", f"could not be examined: {text}"),
            Told("ログと設定を見る", "see log and settings"),
        )
