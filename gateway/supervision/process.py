"""One supervised process: started through `child`, watched by its pidfd, started again after a growing wait."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.supervision import child

FIRST_DELAY = 0.1  # seconds before the first restart, doubled each time
LONGEST_DELAY = 5.0
_STEADY = 30.0  # seconds of life after which the wait begins anew


@dataclass(frozen=True, slots=True)
class Spec:
    """What to start. `extra` gives more variables and descriptors to pass, asked for at each start."""

    name: str
    module: str
    args: tuple[str, ...]
    extra: Callable[[], tuple[Mapping[str, str], tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended. `delay` is the wait before it is started again, None = it was told to stop."""

    pid: int
    exit_code: int | None  # None: ended by `signal`
    signal: int | None
    delay: float | None


class Supervised:
    """Keeps one process running until `stop`."""

    def __init__(
        self, spec: Spec, started: Callable[[Supervised], None], died: Callable[[Supervised, Death], None],
        became_ready: Callable[[Supervised], None],
    ) -> None:  # fmt: skip
        self.spec = spec
        self._started, self._died, self._became_ready = started, died, became_ready
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._pipe = -1
        self._restart: asyncio.TimerHandle | None = None
        self._delay = FIRST_DELAY
        self._stopping = False
        self.ready = False
        self.restarts = 0
        self.started_at = 0.0
        self.gone = asyncio.Event()  # set while no process runs

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process now. Raises OSError."""
        read_end, write_end = os.pipe()
        variables, fds = self.spec.extra()
        environment = {
            **os.environ, **variables, child.PARENT: str(os.getpid()), child.READY: str(write_end),
        }  # fmt: skip
        command = [sys.executable, "-m", "gateway.supervision.child", self.spec.module, *self.spec.args]
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own modules, no shell)
                command, env=environment, pass_fds=(*fds, write_end), stdin=subprocess.DEVNULL, start_new_session=True
            )
        finally:
            os.close(write_end)
        self._pipe, self._pidfd = read_end, os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._ended)
        self._loop.add_reader(self._pipe, self._said)
        self.started_at = time.monotonic()
        self.gone.clear()
        self._started(self)

    def signal(self, number: int) -> None:
        """Send a signal if the process runs."""
        if self._process is not None:
            signal.pidfd_send_signal(self._pidfd, number)

    def stop(self) -> None:
        """Ask it to end, and do not start it again."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._process is None:
            self.gone.set()
        self.signal(signal.SIGTERM)

    def _said(self) -> None:
        said = os.read(self._pipe, 1)
        self._close_pipe()
        if said == b"R":
            self.ready = True
            self._became_ready(self)

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _ended(self) -> None:
        process = self._process
        if process is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._close_pipe()
        code = process.wait()
        self._process, self.ready = None, False
        delay: float | None = None
        if not self._stopping:
            if time.monotonic() - self.started_at >= _STEADY:
                self._delay = FIRST_DELAY
            delay, self._delay = self._delay, min(LONGEST_DELAY, self._delay * 2)
            self.restarts += 1
            self._restart = self._loop.call_later(delay, self.start)
        self.gone.set()
        died = Death(process.pid, code if code >= 0 else None, -code if code < 0 else None, delay)
        self._died(self, died)
