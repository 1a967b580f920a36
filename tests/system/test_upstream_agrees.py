"""The app's own list of requests and the journals agree, whichever process is killed under load (promise P2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.agreement import Agreement, Epoch, compare, noted
from tests.support.running_city import RunningCity, running_city
from tests.support.steady_load import SteadyLoad
from tests.support.steward_process import ROOT

CLIENTS = 6
SETTLED = 40  # requests that pass after a process is back


@contextlib.asynccontextmanager
async def recorded_city(folder: Path) -> AsyncIterator[tuple[RunningCity, Path]]:
    """A gateway whose app writes down what it gets, in the file that comes with it."""
    book = folder / "seen"
    app = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.recording_upstream", str(book), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert app.stdout is not None
        port = int(await asyncio.wait_for(app.stdout.readline(), 60))
        async with running_city(folder) as city:
            await city.furnish(upstream=f"http://127.0.0.1:{port}")
            yield city, book
    finally:
        app.kill()
        await app.wait()


def held_together(city: RunningCity, book: Path, killed: set[Epoch]) -> Agreement:
    """Compare, and demand that nothing is left unexplained."""
    found = compare(noted(book), city.records("worker-?"), killed)
    assert found.faults == ()
    assert found.incomplete > 0
    assert all(count <= CLIENTS for count in found.cut_short.values())
    return found


@pytest.mark.promise("P2.upstream-and-journal-agree")
def test_upstream_and_journal_agree_whoever_is_killed(tmp_path: Path) -> None:
    async def run() -> None:
        async with recorded_city(tmp_path) as (city, book):
            tokens = [await city.sign_in(f"p{number}") for number in range(6)]
            load = SteadyLoad(city.status["listeners"]["loopback"], tokens)
            load.start(CLIENTS)
            await load.passed(SETTLED)
            for name in ("worker-0", "steward", "control", "auditor", "worker-1"):
                pid = city.pid(name)
                os.kill(pid, signal.SIGKILL)
                await city.back(name, pid)
                await load.passed(SETTLED)
            await load.stop()
            await city.stop()
            last = {writer: max(epochs(city, writer)) for writer in ("worker-0", "worker-1")}
            assert all(number > 1 for number in last.values())
            killed = {(writer, epoch) for writer, number in last.items() for epoch in range(number)}
            found = held_together(city, book, killed)
            assert found.seen > 5 * SETTLED

    asyncio.run(run())


@pytest.mark.promise("P2.upstream-and-journal-agree")
def test_upstream_and_journal_agree_after_the_supervisor_is_killed(tmp_path: Path) -> None:
    async def run() -> None:
        async with recorded_city(tmp_path) as (city, book):
            load = SteadyLoad(city.status["listeners"]["loopback"], [await city.sign_in(f"p{n}") for n in range(4)])
            load.start(CLIENTS)
            await load.passed(SETTLED)
            pids = [city.pid(name) for name in ("worker-0", "worker-1")]
            os.kill(city.status["pid"], signal.SIGKILL)
            await asyncio.to_thread(gone, pids)
            await load.stop()
            held_together(city, book, {(writer, e) for writer in ("worker-0", "worker-1") for e in range(100)})

    asyncio.run(run())


def epochs(city: RunningCity, writer: str) -> set[int]:
    """The epochs that a writer's records belong to."""
    return {record["epoch"] for record in city.records(writer)}


def gone(pids: list[int]) -> None:
    """Wait until none of the processes runs."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            assert select.select([fd], [], [], 60)[0]
            os.close(fd)
