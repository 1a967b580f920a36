"""The child's side of supervision: dies with the supervisor, says when it is ready, hears when to stop or to retire.

`python -m gateway.supervision.child MODULE ARGS…` is how the supervisor starts every process: the parent-death signal
(prctl(2) PR_SET_PDEATHSIG) is set before MODULE is imported, then MODULE runs as `__main__` in the same process.
A process started by hand works too: `ready` then finds no variable and does nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Final

PARENT = "SEKISHO_PARENT_PID"
READY = "SEKISHO_READY_FD"
TURN = "SEKISHO_TURN_FD"  # where a process that takes another's place is told to go on
AGAIN = "SEKISHO_STARTED_AGAIN"  # set where it died and came back: the others run with what they had read before
LISTEN = "SEKISHO_LISTEN"  # "public:7,help:8", read by gateway.edge.listener
SETTINGS = "SEKISHO_SETTINGS_FD"  # the text of the settings in force
RETIRE: Final = signal.SIGUSR1
NOT_INHERITED: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""Variables by which systemd speaks to the supervisor alone (sd_notify(3), sd_listen_fds(3))."""
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the supervisor ends; exit at once if it is gone already. Raises OSError."""
    expected = os.environ.get(PARENT)
    if expected is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(expected):
        os._exit(1)


def settings_text(config: Path) -> str:
    """Return the text of the settings: those that the supervisor accepted, else what the file says. Raises OSError.

    A file that was broken since must not keep a process from coming back.
    """
    number = os.environ.get(SETTINGS)
    return (Path(f"/proc/self/fd/{int(number)}") if number else config).read_text(encoding="utf-8")


def started_again() -> bool:
    """Whether this process died and came back by itself, beside others that read their files earlier than it did."""
    return AGAIN in os.environ


def await_turn() -> None:
    """Say that everything is loaded, and wait until the process whose place this is has ended.

    The supervisor's variables are those of that moment from then on, not of the start. Does nothing where nobody's
    place is taken. Ends the process where the supervisor gave up.
    """
    number = os.environ.pop(TURN, None)
    if number is None:
        return
    os.write(int(os.environ[READY]), b"L")
    with os.fdopen(int(number), "rb") as turn:
        told = turn.read()
    if not told:
        os._exit(1)
    os.environ.update(json.loads(told))


def ready() -> None:
    """Tell the supervisor that this process does its work: one byte over the inherited pipe, then it is closed."""
    number = os.environ.pop(READY, None)
    if number is None:
        return
    try:
        os.write(int(number), b"R")
    finally:
        os.close(int(number))


def stop_event(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """An event set by SIGTERM or SIGINT; a second signal ends the process at once."""
    asked = asyncio.Event()

    def hear() -> None:
        if asked.is_set():
            os._exit(130)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hear)
    return asked


def retire_event(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """An event set by the signal that asks for a slow end: another process has this one's place already."""
    asked = asyncio.Event()
    loop.add_signal_handler(RETIRE, asked.set)
    return asked


def _main() -> None:
    die_with_parent()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
