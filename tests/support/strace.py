"""Injected faults on a running process (strace(1), `-e inject`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path


@contextlib.asynccontextmanager
async def injected(strace: Path, pid: int, fault: str, only: Path | None = None) -> AsyncIterator[None]:
    """Have the process's system calls fail as `fault` says (`fdatasync:error=EIO`), on the file `only` if given."""
    call = fault.partition(":")[0]
    path = () if only is None else ("-P", str(only))
    process = await asyncio.create_subprocess_exec(
        str(strace), "-f", "-p", str(pid), *path, "-e", f"trace={call}", "-e", f"inject={fault}", "-o", "/dev/null",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = await asyncio.wait_for(process.stderr.readline(), 60)
        assert b"attached" in said, said
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()  # detaches: the process goes on
        await process.wait()
