"""What the service manager is told (sd_notify(3)): ready, reloading, stopping, alive. Without one, nothing is sent.

`NOTIFY_SOCKET` names a datagram socket, `@` in front for the abstract namespace. A state that cannot be sent is lost:
the service manager then sees a watchdog or a start that timed out, and acts.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Where states go, and how often the watchdog wants to hear: `watchdog` in seconds, 0 = never."""

    address: str
    watchdog: float

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> ServiceManager:
        """Read what systemd says to the process `pid`; a watchdog meant for another process is none."""
        usec, whom = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        mine = usec.isdigit() and whom in ("", str(pid))
        return cls(environ.get("NOTIFY_SOCKET", ""), int(usec) / 1e6 if mine else 0.0)

    def tell(self, *states: str) -> bool:
        """Send states in one datagram; return whether somebody took it."""
        if not self.address:
            return False
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)  # one that does not read must not hold up who supervises everything
            try:
                sock.sendto("\n".join(states).encode(), address)
            except OSError:
                return False
        return True


def reloading() -> tuple[str, str]:
    """Return the states of a reload that begins now; the time tells it from an older `READY=1`."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
