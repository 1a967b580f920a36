"""A steward that takes another's place counts the workers that run when its turn comes, not when it was started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gateway.reloading.crew import Crew, Told
from gateway.state.fencing import RUNNING
from gateway.state.steward_client import StewardClient
from gateway.supervision.process import Death, Spec, Supervised
from tests.support.steward_process import install


class Workers:
    """Processes that stand for workers: the steward looks at nothing of them but whether they live."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Have one of this name, in place of a former one."""
        self.end(name)
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        self.running[name] = subprocess.Popen(command, stdin=subprocess.PIPE)

    def end(self, name: str) -> None:
        if (process := self.running.pop(name, None)) is not None:
            process.kill()
            process.communicate()

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.running.items()}

    def told(self) -> tuple[Mapping[str, str], tuple[int, ...]]:
        """As the supervisor tells a steward."""
        return {RUNNING: ",".join(f"{name}:{pid}" for name, pid in self.pids().items())}, ()


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    for name in list(made.running):
        made.end(name)


@pytest.mark.promise("P3.worker-of-former-steward-counts")
def test_a_worker_that_came_back_while_the_steward_was_replaced_counts(tmp_path: Path, workers: Workers) -> None:
    """It has the view of the old steward, and the new one, loaded before it came back, had not been told of it."""
    config = install(tmp_path)

    def died(process: Supervised, _death: Death) -> None:
        """The former steward has ended; the new one waits for its turn."""
        if process.pid is None and process.spec.name == "steward" and not process.keep:
            workers.start("worker-0")

    async def counted() -> dict[str, int]:
        client = StewardClient(config.parent / "run" / "steward.sock")
        try:
            return {each["name"]: each["pid"] for each in (await client.call("status"))["workers"] if each["counted"]}
        finally:
            await client.close()

    async def run() -> None:
        crew = Crew(Told(lambda _: None, died, lambda _: None, lambda: None))
        spec = Spec("steward", "gateway.steward", ("--config", str(config)), workers.told)
        workers.start("worker-0")
        workers.start("worker-1")
        try:
            crew.start(spec)
            async with asyncio.timeout(30):
                await crew.current["steward"].serving.wait()
            former = workers.pids()
            assert await counted() == former
            await crew.renew(spec)
            assert workers.pids()["worker-0"] != former["worker-0"]
            assert workers.pids()["worker-1"] == former["worker-1"]
            assert await counted() == workers.pids()
        finally:
            await _ended(crew)

    asyncio.run(run())


async def _ended(crew: Crew) -> None:
    crew.stopping = True
    for process in crew.all:
        process.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                await process.gone.wait()
        if process.pid is not None:
            os.kill(process.pid, 9)
