"""The child's side of supervision: dies with the supervisor, says when it is ready, hears when to stop.

`python -m gateway.supervision.child MODULE ARGS…` is how the supervisor starts every process: the parent-death signal
(prctl(2) PR_SET_PDEATHSIG) is set before MODULE is imported, then MODULE runs as `__main__` in the same process.
A process started by hand works too: `ready` then finds no variable and does nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import runpy
import signal
import sys

PARENT = "SEKISHO_PARENT_PID"
READY = "SEKISHO_READY_FD"
LISTEN = "SEKISHO_LISTEN"  # "public:7,help:8", read by gateway.edge.listener
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


def _main() -> None:
    die_with_parent()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
