"""One supervised process: started through `child`, watched by its pidfd, started again after a growing wait.

A process that takes another's place is started beside it. A worker simply begins to serve; one of which there can be
one only is started with `waits`: it loads its code and says so, and goes on when it is told (`go`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from gateway.supervision import child

FIRST_DELAY = 0.1  # seconds before the first restart, doubled each time
LONGEST_DELAY = 5.0
_STEADY = 30.0  # seconds of life after which the wait begins anew
_log = logging.getLogger("sekisho.supervisor")


@dataclass(frozen=True, slots=True)
class Spec:
    """What to start. `extra` gives more variables and descriptors to pass, asked for at each start."""

    name: str
    module: str
    args: tuple[str, ...]
    extra: Callable[[], tuple[Mapping[str, str], tuple[int, ...]]]
    place: int = 0  # of a worker: which of its slot's journals is its own while another still drains


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended. `delay` is the wait before it is started again, None = it is not."""

    pid: int
    exit_code: int | None  # None: ended by `signal`
    signal: int | None
    delay: float | None


class Supervised:
    """Keeps one process running until `stop` or `retire`."""

    def __init__(
        self, spec: Spec, started: Callable[[Supervised], None], died: Callable[[Supervised, Death], None],
        became_ready: Callable[[Supervised], None], *, keep: bool = True,
    ) -> None:  # fmt: skip
        """`keep` false: a process that died is not started again, until `keep` is set."""
        self.spec = spec
        self._started, self._died, self._became_ready = started, died, became_ready
        self._loop = asyncio.get_running_loop()
        self._pidfd = self._pipe = self._turn = -1
        self._restart: asyncio.TimerHandle | None = None
        self._delay = FIRST_DELAY
        self.keep = keep
        self.pid: int | None = None  # None while it does not run
        self.ready = False
        self.restarts = 0
        self.started_at = 0.0  # monotonic seconds
        self.loaded = asyncio.Event()  # set once a process that waits for its turn has loaded
        self.serving = asyncio.Event()  # set while it is ready
        self.gone = asyncio.Event()  # set while no process runs

    def start(self, *, waits: bool = False) -> None:
        """Start the process now. Raises OSError, and what `extra` raises; nothing is left open or running then."""
        variables, fds = self.spec.extra()
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            read_end, write_end = _pipe(ours, theirs)
            told, turn = _pipe(theirs, ours) if waits else (-1, -1)
            environment = {
                **os.environ, **variables, child.PARENT: str(os.getpid()), child.READY: str(write_end),
                **({child.TURN: str(told)} if waits else {}), **({child.AGAIN: "1"} if self.restarts else {}),
            }  # fmt: skip
            for name in child.NOT_INHERITED:
                environment.pop(name, None)
            command = [sys.executable, "-m", "gateway.supervision.child", self.spec.module, *self.spec.args]
            passed = (*fds, write_end, told) if waits else (*fds, write_end)
            process = subprocess.Popen(  # noqa: S603 (our own modules, no shell)
                command, env=environment, pass_fds=passed, stdin=subprocess.DEVNULL, start_new_session=True
            )
            process.returncode = 0  # it is waited for here, by its pidfd: Popen itself is not to look
            try:
                self._watch(process.pid)
            except OSError:
                os.kill(process.pid, signal.SIGKILL)
                os.waitpid(process.pid, 0)
                raise
            ours.pop_all()
        self._pipe, self._turn = read_end, turn
        self._loop.add_reader(self._pipe, self._said)
        self._started(self)

    def adopt(self, pid: int, restarts: int) -> None:
        """Take over a child of ours that runs and is ready: a former program of this process started it."""
        self._watch(pid)
        self.restarts = restarts
        self.ready = True
        self.serving.set()

    def _watch(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        self.pid = pid
        self._loop.add_reader(self._pidfd, self._ended)
        self.started_at = time.monotonic()
        self.gone.clear()

    def _again(self) -> None:
        """Start the process once more; where even that fails (no memory, no descriptors), later again."""
        try:
            self.start()
        except OSError as error:
            delay, self._delay = self._delay, min(LONGEST_DELAY, self._delay * 2)
            _log.warning("%s cannot be started, again in %.1f s: %s", self.spec.name, delay, error)
            self._restart = self._loop.call_later(delay, self._again)

    def go(self) -> None:
        """Let a process that waits for its turn go on; raises OSError, and what `extra` raises: it ends then.

        Its variables are given once more: what was so when it was started need not be so any more, above all which
        workers run. Those that number descriptors are the same as then.
        """
        turn, self._turn = self._turn, -1
        try:
            variables, _ = self.spec.extra()
            os.write(turn, orjson.dumps(dict(variables)))
        finally:
            os.close(turn)

    def signal(self, number: int) -> None:
        """Send a signal if the process runs."""
        if self.pid is not None:
            signal.pidfd_send_signal(self._pidfd, number)

    def stop(self) -> None:
        """Ask it to end, and do not start it again."""
        self._let_go(signal.SIGTERM)

    def retire(self) -> None:
        """Ask it to take nothing new and to end once all it has is done, and do not start it again."""
        self._let_go(child.RETIRE)

    def _let_go(self, number: int) -> None:
        self.keep = False
        if self._restart is not None:
            self._restart.cancel()
        if self.pid is None:
            self.gone.set()
        self.signal(number)

    def _said(self) -> None:
        said = os.read(self._pipe, 1)
        if said == b"L":
            self.loaded.set()
            return
        self._close_pipes()
        if said == b"R":
            self.ready = True
            self.serving.set()
            self._became_ready(self)

    def _close_pipes(self) -> None:
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1
        if self._turn >= 0:
            os.close(self._turn)
            self._turn = -1

    def _ended(self) -> None:
        pid = self.pid
        if pid is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._close_pipes()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.pid, self.ready = None, False
        self.loaded.clear()
        self.serving.clear()
        delay: float | None = None
        if self.keep:
            if time.monotonic() - self.started_at >= _STEADY:
                self._delay = FIRST_DELAY
            delay, self._delay = self._delay, min(LONGEST_DELAY, self._delay * 2)
            self.restarts += 1
            self._restart = self._loop.call_later(delay, self._again)
        self.gone.set()
        died = Death(pid, code if code >= 0 else None, -code if code < 0 else None, delay)
        self._died(self, died)


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """Open a pipe whose ends are closed with these; raises OSError."""
    read_end, write_end = os.pipe()
    readers.callback(os.close, read_end)
    writers.callback(os.close, write_end)
    return read_end, write_end
