"""One system call that takes fewer bytes than it was given, as POSIX lets every write(2) do.

strace can have a call fail but not have it take a part, so the process itself asks the kernel for a part:
`SHORT_WRITE=3:10` in its environment, the third write to a file under the folder takes ten bytes.
"""

from __future__ import annotations

import os
from pathlib import Path


def install(root: Path) -> None:
    """Have the one call be short that the environment names; nothing where it names none."""
    asked = os.environ.get("SHORT_WRITE")
    if asked is None:
        return
    which, size = map(int, asked.split(":"))
    count, real = 0, os.write

    def write(descriptor: int, data: bytes) -> int:
        nonlocal count
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(root):
            count += 1
            if count == which:
                return real(descriptor, data[:size])
        return real(descriptor, data)

    os.write = write  # type: ignore[assignment]
