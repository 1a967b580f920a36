"""A process that cannot even be started (no memory, no descriptors) is tried again, each time later; nothing leaks."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.supervision import process
from gateway.supervision.process import Spec, Supervised


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_bug_a_process_whose_restart_failed_once_was_never_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FIRST_DELAY", 0.01)
    popen, refusals = subprocess.Popen, 3

    def no_memory(*arguments: Any, **named: Any) -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return popen(*arguments, **named)

    async def main() -> None:
        started = asyncio.Event()
        spec = Spec("worker-0", "json.tool", ("--help",), lambda: ({}, ()))
        supervised = Supervised(spec, lambda _: started.set(), lambda *_: None, lambda _: None)
        before = descriptors()
        monkeypatch.setattr(subprocess, "Popen", no_memory)
        supervised._again()
        assert descriptors() == before
        async with asyncio.timeout(30):
            await started.wait()
        assert refusals == 0
        supervised.stop()
        async with asyncio.timeout(20):
            await supervised.gone.wait()

    asyncio.run(main())
