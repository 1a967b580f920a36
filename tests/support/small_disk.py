"""A disk of a given size, which can be filled, grown and made read-only while it is used: a tmpfs of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.real_parts import missing

_BALLAST = "ballast"


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def remount(self, options: str) -> None:
        """Change it while it is in use (mount(8), `remount`)."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True, capture_output=True)

    def leave(self, percent: float) -> None:
        """Fill it with a file of nothing until this share is free; a larger share takes from that file."""
        found = os.statvfs(self.folder)
        ballast = self.folder / _BALLAST
        held = ballast.stat().st_size if ballast.exists() else 0
        wanted = held + found.f_bavail * found.f_frsize - int(found.f_blocks * found.f_frsize * percent / 100)
        with ballast.open("ab") as file:
            if wanted > held:
                os.posix_fallocate(file.fileno(), held, wanted - held)
            else:
                os.ftruncate(file.fileno(), max(0, wanted))


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount one of `size` (`64k`) at `folder`; skips the test where that is not allowed, fails it in CI."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(asked, capture_output=True, text=True, check=False)
    if mounted.returncode:
        missing(f"the right to mount a small disk ({mounted.stderr.strip()})")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
