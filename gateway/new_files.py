"""New files of an installation that are on the disk when the call returns. Nothing here overwrites."""

from __future__ import annotations

import os
from pathlib import Path

from audit.durable import create, sync_directory, write_all

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PUBLIC_FILE = 0o644


def write_new(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Create `path` with `content`; raises FileExistsError if there is one, OSError if it cannot be kept."""
    descriptor = create(path, mode)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Make every file and folder below `root` durable, whoever wrote them."""
    for folder, _, names in os.walk(root):
        for name in names:
            descriptor = os.open(Path(folder, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(folder))
