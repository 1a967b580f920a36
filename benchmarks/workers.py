"""Two workers beside one, on both cores, which they share with app and load: CPU a request, and requests a second.

`python -m benchmarks.workers SECONDS ROUNDS` prints JSON. nginx gets as many workers, the chain in Go as many threads.
Requests a second say what this machine has to give, load generator and app included; what more workers cost is the CPU
of a request over that with one. `least` is the part of the worker that had the least to do of what both spent: the
kernel deals connections out (SO_REUSEPORT), and 64 of them are seldom dealt evenly.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import nginx, progress, yardstick
from benchmarks.candidates import WARM, gateway, token
from benchmarks.load import TARGET
from benchmarks.measure import THREADS, Cost, Spread, beside, cpu_seconds, write_script, wrk
from tests.support.ports import free_port
from tests.support.running_city import HOST

COUNTS: Final = (1, 2)
CORES: Final = (0, 1)
Turn = tuple[int, set[int]]  # a port, and the processes behind it


def cost(turn: Turn, script: Path, seconds: float) -> tuple[Cost, float]:
    """What a request costs, and the least of all processes' parts of that."""
    port, pids = turn
    url, cores = f"http://127.0.0.1:{port}{TARGET}", ",".join(str(core) for core in CORES)
    wrk(url, script, WARM, cores)
    before = {pid: cpu_seconds([pid]) for pid in pids}
    requests = wrk(url, script, seconds, cores).requests
    spent = [cpu_seconds([pid]) - before[pid] for pid in pids]
    return Cost(sum(spent) / requests * 1e6, requests / seconds), min(spent) / sum(spent)


async def candidates(stack: contextlib.AsyncExitStack, folder: Path, app: int, count: int) -> dict[str, Turn]:
    """Start everybody with so many workers; the processes that are counted are those that carry requests."""
    own = folder / str(count)
    own.mkdir()
    city, _ = await stack.enter_async_context(gateway(own, app, workers=count, cores=CORES))
    front, cores = free_port(), ",".join(str(core) for core in CORES)
    proxy = stack.enter_context(nginx.ended(nginx.start_proxy(folder, front, app, cores, workers=count)))
    return {
        "gateway": (
            int(city.base.rpartition(":")[2]), {city.pid(f"worker-{number}") for number in range(count)}
        ),
        "nginx": (front, nginx.serving(proxy, count)),
        **stack.enter_context(yardstick.chains(own, app, cores=CORES, threads=count)),
    }  # fmt: skip


def summary(rows: dict[int, list[dict[str, Cost]]], least: list[float]) -> dict[str, Any]:
    """Costs by the number of workers, and what two bring and cost over one."""
    told: dict[str, Any] = {
        str(count): beside([{who: each.micros for who, each in row.items()} for row in taken])
        for count, taken in rows.items()
    }
    one, two = (rows[count] for count in COUNTS)
    pairs = list(zip(one, two, strict=True))
    for key, field in (("gain", "per_second"), ("more", "micros")):
        told[key] = {
            who: dataclasses.asdict(Spread.of([getattr(b[who], field) / getattr(a[who], field) for a, b in pairs]))
            for who in one[0]
        }
    return {**told, "least": Spread.of(least).median}


async def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Let all take turns with one worker and with two."""
    rows: dict[int, list[dict[str, Cost]]] = {count: [] for count in COUNTS}
    least: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        script = folder / "load.lua"
        write_script(script, HOST, [token(number) for number in range(THREADS)])
        app = free_port()
        stack.enter_context(nginx.ended(nginx.start_app(folder, app, ",".join(str(core) for core in CORES))))
        turns = {count: await candidates(stack, folder, app, count) for count in COUNTS}
        for _ in progress.rounds("workers", rounds):
            for count in random.sample(COUNTS, len(COUNTS)):
                row = {}
                for who in random.sample(sorted(turns[count]), len(turns[count])):
                    row[who], part = await asyncio.to_thread(cost, turns[count][who], script, seconds)
                    if (who, count) == ("gateway", COUNTS[-1]):
                        least.append(part)
                rows[count].append(row)
    return summary(rows, least)


if __name__ == "__main__":
    os.sched_setaffinity(0, CORES)
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]), int(sys.argv[2])))))
