"""Processes that cannot even be started, that never get their turn, that come back: tried again, and nothing leaks."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway import control
from gateway.settings import Settings
from gateway.supervision import child, process
from gateway.supervision.process import Spec, Supervised
from tests.support.filled_installation import SETTINGS


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


def program(folder: Path, text: str) -> dict[str, str]:
    """Put a program `said` where a process with these variables finds it."""
    (folder / "said.py").write_text(f"import os\nfrom gateway.supervision import child\n{text}\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{Path.cwd()}", "SAID": str(folder / "lines")}


def made(extra: Any, module: str = "said", **told: Any) -> Supervised:
    spec = Spec("control", module, ("--help",), extra)
    return Supervised(spec, told.get("started", lambda _: None), lambda *_: None, lambda _: None, keep=False)


async def over(supervised: Supervised) -> None:
    supervised.stop()
    async with asyncio.timeout(30):
        await supervised.gone.wait()


def test_bug_what_fails_as_a_process_gets_its_turn_leaves_it_no_open_end(tmp_path: Path) -> None:
    """The process waited for a word that nobody could send any more, and the descriptor stayed with the supervisor."""
    fails, variables = False, program(tmp_path, "child.await_turn()")

    def extra() -> Any:
        if fails:
            raise ValueError("no such slot")
        return variables, ()

    async def main() -> None:
        nonlocal fails
        supervised, before = made(extra), descriptors()
        supervised.start(waits=True)
        async with asyncio.timeout(30):
            await supervised.loaded.wait()
        fails = True
        with pytest.raises(ValueError, match="no such slot"):
            supervised.go()
        async with asyncio.timeout(30):
            await supervised.gone.wait()  # it was told that nothing comes
        assert descriptors() == before
        with pytest.raises(ValueError, match="no such slot"):
            supervised.start(waits=True)
        assert descriptors() == before

    asyncio.run(main())


@pytest.mark.parametrize("refused", ["pipe", "pidfd_open"])
def test_bug_a_start_without_descriptors_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    """The first pipe stayed open where there was no second one; a process that nobody watched went on."""
    real, pids = getattr(os, refused), list[int]()

    def pidfd_open(pid: int) -> int:
        pids.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def pipe(opened: list[int] = []) -> Any:  # noqa: B006 (one for each test)
        opened.append(1)
        if len(opened) == 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real()

    async def main() -> None:
        supervised, before = made(lambda: ({}, ()), "json.tool"), descriptors()
        monkeypatch.setattr(os, refused, {"pipe": pipe, "pidfd_open": pidfd_open}[refused])
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            supervised.start(waits=True)
        monkeypatch.undo()
        assert descriptors() == before
        assert supervised.pid is None

    asyncio.run(main())
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_bug_who_came_back_alone_forgets_no_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Control, back after an authority's file was replaced in place, dropped the list that workers judge by."""
    monkeypatch.setattr(process, "FIRST_DELAY", 0.01)
    text = "with open(os.environ['SAID'], 'a') as file:\n    file.write(f'{child.started_again()}\\n')"
    variables = program(tmp_path, text)

    async def main() -> None:
        started, again = 0, asyncio.Event()

        def count(_: Supervised) -> None:
            nonlocal started
            started += 1
            if started == 3:
                again.set()

        supervised = made(lambda: (variables, ()), started=count)
        supervised.keep = True
        supervised.start()
        async with asyncio.timeout(60):
            await again.wait()
        await over(supervised)

    asyncio.run(main())
    assert (tmp_path / "lines").read_text().splitlines()[:2] == ["False", "True"]

    settings = Settings.parse(SETTINGS, tmp_path / "sekisho.toml")
    monkeypatch.delenv(child.AGAIN, raising=False)
    assert control._wanted_lists(settings) == ([], settings.timeouts.drain)
    monkeypatch.setenv(child.AGAIN, "1")
    assert control._wanted_lists(settings) == ([], float("inf"))
