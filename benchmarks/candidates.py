"""What is measured: nginx alone, the bare edge, and the whole gateway in both durabilities."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.load import HEADERS
from benchmarks.measure import Cost, LoadFault, cpu_seconds, load, tree
from benchmarks.nginx import start_proxy, wait_for
from gateway.state.records import App, AppSession, PolicyVersion
from scripts.compiling.freshness import outdated
from tests.support.gate_world import APP
from tests.support.ports import free_port
from tests.support.running_city import HOST, ROOT, RunningCity, running_city
from tests.support.steward_process import session, user

GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1
WARM: Final = 1.0  # seconds of load before the measured ones
SESSIONS: Final = 200
COMPILED: Final = ROOT / ".cache" / "compiled"  # where the compiled build lies, if it was made
STARTER: Final = ROOT / "policies" / "bundled" / "starter.yaml"
_UNLIMITED: Final = {
    f"SEKISHO_LIMITS__{who}_RATE__{what}": "1000000"
    for who in ("USER", "SESSION", "ADDRESS") for what in ("PER_SECOND", "BURST")
} | {"SEKISHO_LIMITS__CONNECTIONS_PER_ADDRESS": "10000"}  # fmt: skip
_CAUGHT_UP: Final = 0.08  # share of a core under which a gateway without load has nothing left to do
_NAMED: Final = 3  # files in a message
_PATIENCE: Final = 30.0  # seconds to wait for that


def lacks_compiled(copy: Path, root: Path = ROOT) -> str:
    """Return why the compiled copy cannot be measured for the sources in `root`, "" where it can."""
    if not copy.is_dir():
        return f"there is none in {copy.name}; `make compiled` makes it"
    differing = outdated(copy, root)
    if not differing:
        return ""
    named = ", ".join(differing[:_NAMED]) + (f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else "")
    return f"it was made from other sources ({named}); `make compiled` makes it anew"


def runs_compiled(city: RunningCity, copy: Path) -> None:
    """Check that worker and auditor have loaded extensions of the copy; raises LoadFault: what runs is not measured."""
    for name in ("worker-0", "auditor"):
        maps = Path(f"/proc/{city.pid(name)}/maps").read_text()
        if not any(line.endswith(".so") and str(copy / "audit") in line for line in maps.splitlines()):
            raise LoadFault(f"{name} runs none of the extensions in {copy}")


def token(number: int) -> str:
    """The app session's token of one person."""
    return hashlib.sha256(f"measured {number}".encode()).hexdigest()[:43]


def measured(port: int, pids: set[int], script: Path, seconds: float) -> Cost:
    """Warm up, load, and return what these processes spent."""
    load(port, script, WARM, LOAD_CORE)
    before = cpu_seconds(pids)
    requests = load(port, script, seconds, LOAD_CORE)
    return Cost((cpu_seconds(pids) - before) / requests * 1e6, requests / seconds)


def _alone(process: subprocess.Popen[bytes], port: int, script: Path, seconds: float) -> Cost:
    try:
        wait_for(port)
        return measured(port, tree(process.pid), script, seconds)
    finally:
        process.terminate()
        process.wait()


def bare_nginx(folder: Path, app: int, script: Path, seconds: float) -> Cost:
    """A fresh nginx with a bare `proxy_pass`."""
    port = free_port()
    return _alone(start_proxy(folder, port, app, GATEWAY_CORE), port, script, seconds)


def bare(app: int, script: Path, seconds: float) -> Cost:
    """A fresh process with the edge alone: everything is allowed and nothing recorded."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port), str(app)]
    return _alone(subprocess.Popen(["taskset", "-c", str(GATEWAY_CORE), *command], cwd=ROOT), port, script, seconds)


@contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """What is started meanwhile by this thread inherits these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def gateway(
    folder: Path, app: int, *, workers: int = 1, cores: Iterable[int] = (GATEWAY_CORE,), program: Path = ROOT,
    **settings: str,
) -> AsyncIterator[tuple[RunningCity, App]]:  # fmt: skip
    """A fresh gateway, its processes on these cores: the starter policy, one app, and so many people signed in.

    `program` is the folder whose packages run: this one's, or a compiled build's.
    """
    async with AsyncExitStack() as stack:
        with on_cores(cores):
            environment = {"SEKISHO_WORKERS__COUNT": str(workers), **_UNLIMITED, **settings}
            city = await stack.enter_async_context(running_city(folder, program=program, **environment))
        registered = replace(
            APP, id="wiki", sensitivity="1", upstream=f"http://127.0.0.1:{app}", presets=("jwt",), masked_paths=(),
            preflight_origins=(), durability="written", activity="any",
        )  # fmt: skip
        await city.put("app.put", app=registered)
        text = STARTER.read_text()
        version = hashlib.sha256(text.encode()).hexdigest()
        await city.put("policy.put", version=PolicyVersion(version, "", text, "author", time.time(), "proposed", ""))
        await city.steward.call("policy.activate", hash=version, by="approver")
        for number in range(SESSIONS):
            await _sign_in(city, number)
        yield city, registered


async def _sign_in(city: RunningCity, number: int) -> None:
    name = f"m{number}"
    await city.put("user.put", user=replace(user(), id=name, login=name, groups=("shokuin", "zeimu")))
    digest = hashlib.sha256(f"portal {name}".encode()).hexdigest()
    # Whoever asks uses the browser of the sign-in.
    started = session(name, user_id=name, token_hash=digest, user_agent=HEADERS["User-Agent"])
    await city.steward.call("session.start", session=started.to_row(), replaces=None)
    digest = hashlib.sha256(token(number).encode()).hexdigest()
    await city.put("app_session.start", app_session=AppSession(name, name, "wiki", HOST, digest, time.time()))


async def chain(city: RunningCity, app: App, durability: str, script: Path, seconds: float) -> tuple[Cost, Cost]:
    """Return what the worker spent, and what all processes spent until the auditor had caught up."""
    await city.put("app.put", app=replace(app, durability=durability))
    port = int(city.base.rpartition(":")[2])
    worker = {city.pid("worker-0")}
    everything = {pid for each in city.status["processes"] if each["pid"] for pid in tree(each["pid"])}
    await asyncio.to_thread(load, port, script, WARM, LOAD_CORE)
    await _settled(everything)
    before, before_all = cpu_seconds(worker), cpu_seconds(everything)
    requests = await asyncio.to_thread(load, port, script, seconds, LOAD_CORE)
    spent = cpu_seconds(worker) - before
    await _settled(everything)
    spent_all = cpu_seconds(everything) - before_all
    rate = requests / seconds
    return Cost(spent / requests * 1e6, rate), Cost(spent_all / requests * 1e6, rate)


async def _settled(pids: set[int]) -> None:
    """Wait until nothing is left to do for what was asked so far."""
    until = time.monotonic() + _PATIENCE
    spent = cpu_seconds(pids)
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        latest = cpu_seconds(pids)
        if latest - spent < 0.5 * _CAUGHT_UP:
            return
        spent = latest
