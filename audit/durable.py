"""Durable file writing, in one place: nothing else in `audit` opens a file for writing.

What is relied on (POSIX leaves more open; Linux man pages fsync(2), rename(2), open(2), and "Files are hard",
Pillai et al., OSDI 2014): data are on disk once fdatasync returned 0; a name is on disk once its directory was synced;
rename replaces a name atomically. After a failed fsync the kernel may have dropped the dirty pages and a second fsync
may answer success for data that are gone: so no caller ever syncs the same data again, it writes them anew. A directory
that exists may owe its existence to a process that died before it synced the parent: so each process syncs the parents
of the directories that it uses once. A descriptor is gone once close(2) was called, whatever that answers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_LOOK_BACK: Final = 65_536  # bytes
_AT_ONCE: Final = 64  # files that are open at once
_KNOWN: Final = 4096  # directories whose names are known to be durable
_durable_names: set[Path] = set()


def make_directory(path: Path) -> None:
    """Create the directory and its missing parents (mode 0700); their names are durable when this returns."""
    if path in _durable_names and path.is_dir():
        return
    if path.is_dir():
        try:
            sync_directory(path.parent)
        except PermissionError:  # the parent is somebody else's, so somebody else made the name
            return
    else:
        make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_directory(path.parent)
    if len(_durable_names) >= _KNOWN:
        _durable_names.clear()
    _durable_names.add(path)


def close(descriptor: int) -> None:
    """Close a descriptor of which nothing is expected any more: what had to be durable was synced before.

    Never twice: on Linux the number is free once close(2) was called, also where it answers EINTR or EIO, and may be
    another file's a moment later.
    """
    with contextlib.suppress(OSError):
        os.close(descriptor)


def own(folder: Path, told: str, kind: type[OSError] = OSError) -> int:
    """Take a folder for this process, by the lock file in it, until the descriptor that is returned is closed.

    Raises `kind` (EWOULDBLOCK), saying what another process does, while that one has it; OSError.
    """
    descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        close(descriptor)
        if error.errno == errno.EWOULDBLOCK:
            raise kind(errno.EWOULDBLOCK, f"{folder}: another process {told}") from error
        raise
    return descriptor


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        close(descriptor)


def create(path: Path, mode: int = 0o600) -> int:
    """Create a file that must not exist yet, for appending, and return its descriptor. Its name is not durable yet."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, mode)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte or raise OSError; a short write is continued, so the cause of the next failure is seen."""
    written = os.write(descriptor, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            more = os.write(descriptor, view[written:])
            if not more:
                raise OSError(errno.EIO, "write(2) takes no byte and gives no reason")
            written += more


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Make `path` hold exactly `data`: readers see the old content or the new one, never both, also after a crash."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = create(temporary, 0o600)
    try:
        write_all(descriptor, data)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        close(descriptor)
    temporary.rename(path)
    sync_directory(path.parent)


def replace_all(files: Sequence[tuple[Path, bytes]], mode: int = 0o644) -> None:
    """Make each path hold exactly its data, as `replace` does; the caller syncs the directories.

    All are written before the first is synced: so the disk has one turn for many of them.
    """
    for start in range(0, len(files), _AT_ONCE):
        opened: list[tuple[int, Path, Path]] = []
        try:
            for path, data in files[start : start + _AT_ONCE]:
                temporary = path.with_name(path.name + ".tmp")
                temporary.unlink(missing_ok=True)
                opened.append((create(temporary, 0o600), temporary, path))
                write_all(opened[-1][0], data)
                os.fchmod(opened[-1][0], mode)
            for descriptor, _, _ in opened:
                os.fsync(descriptor)
        finally:
            for descriptor, _, _ in opened:
                close(descriptor)
        for _, temporary, path in opened:
            temporary.rename(path)


def append(path: Path, data: bytes) -> None:
    r"""Append whole lines (`data` ends in \n) to a file of lines and make them durable, and the file's name with them.

    Raises OSError; then the file is as it was, unless even taking the lines back fails. So a piece without its newline
    at the end was promised to nobody, and is cut off: what is appended never joins it. One process at a time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        before = _end_of_lines(descriptor)
        try:
            write_all(descriptor, data)
            os.fdatasync(descriptor)
            if not before:  # it may be new, or its name may never have been synced
                sync_directory(path.parent)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        close(descriptor)


def _end_of_lines(descriptor: int) -> int:
    """Return where the last whole line ends, and cut off what follows."""
    size = end = os.fstat(descriptor).st_size
    while end and os.pread(descriptor, 1, end - 1) != b"\n":
        start = max(0, end - _LOOK_BACK)
        end = start + os.pread(descriptor, end - start, start).rfind(b"\n") + 1
    if end < size:
        os.ftruncate(descriptor, end)
    return end


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
        close(descriptor)
    temporary.rename(path)
