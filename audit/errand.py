"""One errand in a process of its own: a job, one line of JSON, on standard input; NDJSON out; faults on standard error.

For what takes long or imports much, so that whoever asks (control) is never held up. The process goes last on a busy
machine (`audit.weight`), and ends when its input closes: it cannot outlive whoever asked.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from audit.weight import lighten

Job = dict[str, Any]


def tell(row: Mapping[str, Any]) -> None:
    """Answer one row, at once."""
    sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
    sys.stdout.buffer.flush()


def run(carry_out: Callable[[Job], None], *faults: type[Exception]) -> int:
    """Carry out the job that stands on standard input; returns the exit code.

    0 done, 1 one of `faults` was raised: the last line of standard error says which.
    """
    lighten()
    job: Job = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        carry_out(job)
    except faults as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _end_with_input() -> None:
    """Exit as soon as whoever asked is gone. Reads below `sys.stdin`, whose lock the interpreter needs to end."""
    while os.read(0, 4096):
        pass
    os._exit(0)
