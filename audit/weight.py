"""A low CPU weight for what nobody waits for: traffic, sign-in and revocation come first."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

NICENESS: Final = 10
_AUTOGROUP: Final = Path("/proc/self/autogroup")


def lighten() -> None:
    """Give this process a low CPU weight.

    Where the kernel groups processes by session (sched(7), "The autogroup feature"; the default of most
    distributions), niceness counts within a session only. So a process that leads a session lowers that too: it would
    else have as much as a worker.
    """
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # a kernel without autogroups: niceness counts among all
            _AUTOGROUP.write_text(str(NICENESS))
