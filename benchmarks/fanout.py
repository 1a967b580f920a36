"""Many requests that wait for a slow app: CPU of a request, memory while it waits, and the latency that is added.

`python -m benchmarks.fanout SECONDS ROUNDS` prints JSON. So many connections ask again and again an app that answers
after `DELAY` (`benchmarks.slow_app`), so that as many requests wait at any moment, each with an upstream connection of
its own. Memory is resident memory at the first such load, over what the process had after it carried a few requests;
latency is beside that of the app asked directly by the same client.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks import nginx, progress, yardstick
from benchmarks.candidates import GATEWAY_CORE, LOAD_CORE, gateway, token
from benchmarks.holding import PAGE, resident
from benchmarks.load import TARGET
from benchmarks.measure import THREADS, Answered, Spread, beside, cpu_seconds, write_script, wrk
from tests.support.ports import free_port
from tests.support.running_city import HOST, ROOT

DELAY: Final = 200  # ms
EACH: Final = 30  # connections of a thread of wrk
WAITING: Final = THREADS * EACH
_FEW: Final = 1  # connections of a thread before memory is looked at
_LOOK: Final = 0.05  # seconds between two looks at it
_SHARES: Final = ("50%", "99%")
Turn = tuple[int, set[int]]


@contextlib.contextmanager
def slow_app() -> Iterator[int]:
    """The app on the load's core; its port. Raises BrokenPipeError where it says none."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "benchmarks.slow_app", str(DELAY)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with nginx.ended(process):
        if process.stdout is None:
            raise BrokenPipeError("slow_app")
        yield int(process.stdout.readline())


def asked(port: int, script: Path, seconds: float, each: int = EACH) -> Answered:
    """Let so many connections a thread ask; return what wrk saw."""
    return wrk(f"http://127.0.0.1:{port}{TARGET}", script, seconds, str(LOAD_CORE), each=each)


def memory(pids: Iterable[int]) -> float:
    """Resident memory of processes, in KiB."""
    return sum(resident(pid) for pid in pids)


def grown(turn: Turn, script: Path) -> float:
    """KiB that each waiting request takes, in processes that carried none of many before."""
    port, pids = turn
    asked(port, script, 1, _FEW)
    before, most = memory(pids), 0.0
    with ThreadPoolExecutor(1) as thread:
        load = thread.submit(asked, port, script, 2)
        while not load.done():
            most = max(most, memory(pids))
            time.sleep(_LOOK)
        load.result()
    return max(most - before, PAGE) / WAITING


def cost(turn: Turn, script: Path, seconds: float) -> tuple[float, Answered]:
    """CPU µs of a request, and what wrk saw."""
    port, pids = turn
    before = cpu_seconds(pids)
    answered = asked(port, script, seconds)
    return (cpu_seconds(pids) - before) / answered.requests * 1e6, answered


async def candidates(stack: contextlib.AsyncExitStack, folder: Path, app: int) -> dict[str, Turn]:
    """Start everybody; none has fewer connections to the app than there are requests.

    All ask at the same moment at first; a worker that is late for that shall not refuse any (`overload_lag`).
    """
    room = {"SEKISHO_UPSTREAMS__CONNECTIONS": str(2 * WAITING), "SEKISHO_TIMEOUTS__OVERLOAD_LAG": "10"}
    city, _ = await stack.enter_async_context(gateway(folder, app, **room))
    front = free_port()
    proxy = nginx.start_proxy(folder, front, app, GATEWAY_CORE, idle=2 * WAITING)
    stack.enter_context(nginx.ended(proxy))
    return {
        "gateway": (int(city.base.rpartition(":")[2]), {city.pid("worker-0")}),
        "nginx": (front, nginx.serving(proxy)),
        **stack.enter_context(yardstick.chains(folder, app)),
    }


def added(latencies: dict[str, list[dict[str, float]]], direct: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Milliseconds that each adds to the app's own latency: median over the rounds, by share of the requests."""
    return {
        who: {
            share: Spread.of([seen[share] - plain[share] for seen, plain in zip(rows, direct, strict=True)]).median
            for share in _SHARES
        }
        for who, rows in latencies.items()
    }


async def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Let all take turns."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        script = folder / "load.lua"
        write_script(script, HOST, [token(number) for number in range(THREADS)])
        app = stack.enter_context(slow_app())
        turns = await candidates(stack, folder, app)
        grew = {who: await asyncio.to_thread(grown, turn, script) for who, turn in turns.items()}
        progress.step("fanout: memory")
        costs: list[dict[str, float]] = []
        direct: list[dict[str, float]] = []
        latencies: dict[str, list[dict[str, float]]] = {who: [] for who in turns}
        for _ in progress.rounds("fanout", rounds):
            row = {}
            for who in random.sample(sorted(turns), len(turns)):
                row[who], answered = await asyncio.to_thread(cost, turns[who], script, seconds)
                latencies[who].append(dict(answered.latency))
            costs.append(row)
            direct.append(dict((await asyncio.to_thread(asked, app, script, seconds)).latency))
    return {
        "waiting": WAITING, "delay_ms": DELAY, "cpu": beside(costs), "memory": beside([grew]),
        "added_ms": added(latencies, direct),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]), int(sys.argv[2])))))
