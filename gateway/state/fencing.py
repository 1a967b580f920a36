"""The steward's way to have a worker killed that does not acknowledge: it asks the supervisor, then looks itself.

One datagram each way over an inherited socket pair: `{"fence": name, "pid": n}`. The steward does not wait for an
answer but for the death of the process, which it watches; if that does not come soon, it sends SIGKILL itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

CHANNEL = "SEKISHO_SUPERVISOR_FD"
RUNNING = "SEKISHO_RUNNING_WORKERS"  # "worker-0:4711,worker-1:4712": started before this steward
_PATIENCE = 0.2  # seconds for the supervisor to act


@dataclass(frozen=True, slots=True)
class Fencing:
    """How to end a worker, and which workers ran before this steward did."""

    channel: socket.socket | None
    running: tuple[tuple[str, int], ...]

    @classmethod
    def inherited(cls, environ: Mapping[str, str]) -> Fencing:
        """What the supervisor passed on; a steward started by hand has no channel and knows of no workers."""
        number = environ.get(CHANNEL)
        channel = socket.socket(fileno=int(number)) if number else None
        if channel is not None:
            channel.setblocking(False)
        pairs = (item.rpartition(":") for item in environ.get(RUNNING, "").split(",") if item)
        return cls(channel, tuple((name, int(pid)) for name, _, pid in pairs))

    async def fence(self, worker: str, pid: int) -> None:
        """Have the process killed; returns when it was asked for and, if need be, done here."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self._asked(worker, pid) and await _ended(pidfd, _PATIENCE):
                return
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)

    def _asked(self, worker: str, pid: int) -> bool:
        if self.channel is None:
            return False
        try:
            self.channel.send(orjson.dumps({"fence": worker, "pid": pid}))
        except OSError:  # the supervisor is stuck or gone
            return False
        return True


async def _ended(pidfd: int, seconds: float) -> bool:
    """Whether the process is dead within `seconds`."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
    return True
