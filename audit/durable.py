"""Durable file writing, in one place: nothing else in `audit` opens a file for writing.

What is relied on (POSIX leaves more open; Linux man pages fsync(2), rename(2), open(2), and "Files are hard",
Pillai et al., OSDI 2014): data are on disk once fdatasync returned 0; a name is on disk once its directory was synced;
rename replaces a name atomically. After a failed fsync the kernel may have dropped the dirty pages and a second fsync
may answer success for data that are gone: so no caller ever syncs the same file again, it writes a new one.
"""

from __future__ import annotations

import os
from pathlib import Path


def make_directory(path: Path) -> None:
    """Create the directory and its missing parents (mode 0700) and make their names durable."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path, mode: int = 0o600) -> int:
    """Create a file that must not exist yet, for appending, and return its descriptor. Its name is not durable yet."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, mode)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte or raise OSError; a short write is continued, so the cause of the next failure is seen."""
    written = os.write(descriptor, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += os.write(descriptor, view[written:])


def replace(path: Path, data: bytes, mode: int = 0o644, *, sync_parent: bool = True) -> None:
    """Make `path` hold exactly `data`: readers see the old content or the new one, never a mixture, also after a crash.

    With `sync_parent` false the caller syncs the directory itself, once for many files.
    """
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = create(temporary, 0o600)
    try:
        write_all(descriptor, data)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    if sync_parent:
        sync_directory(path.parent)


def append(path: Path, data: bytes) -> None:
    """Append `data` to a file and make it durable; the file's name is made durable when it is new."""
    fresh = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        write_all(descriptor, data)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    if fresh:
        sync_directory(path.parent)


def cut(path: Path, size: int) -> None:
    """Make a file end after `size` bytes, durably; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make `path` hold exactly `data` for readers of this moment; nothing is synced."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = create(temporary, mode)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)
    temporary.rename(path)
