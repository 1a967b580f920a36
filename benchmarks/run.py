"""`make bench`: what the gateway costs beside nginx (promise P4), and the parts beside it (`benchmarks.parts`).

`python -m benchmarks.run [--quick] [--rounds N] [--seconds S] [--without PART]`. Rounds are interleaved, candidates in
random order, each in fresh processes: proxies on core 0, app and wrk on core 1. CPU µs per request is user and system
time over the requests that wrk completed; ratios are taken within a round, since absolute figures mean nothing on a
shared machine. Prints a table, writes `benchmarks/results/latest.json`, exits 1 where a bound does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks import nginx
from benchmarks.candidates import GATEWAY_CORE, LOAD_CORE, SESSIONS, bare, bare_nginx, chain, gateway, token
from benchmarks.measure import CONNECTIONS, THREADS, Cost, Spread, load, write_script
from benchmarks.parts import PARTS
from tests.support.running_city import HOST

RESULTS: Final = Path(__file__).parent / "results" / "latest.json"
WRITTEN_BOUND: Final = 3.5  # full chain `written`, request path, over nginx
VOID: Final = 0.25  # a round counts if nginx does at least this share of what the app does alone

NAMES: Final = {
    "nginx": "nginx proxy_pass",
    "bare": "bare edge",
    "written": "full chain, written: request path",
    "written, everything": "full chain, written: everything",
    "synced": "full chain, synced: request path",
    "synced, everything": "full chain, synced: everything",
}
Round = dict[str, Cost]


async def one_round(folder: Path, app: int, seconds: float) -> Round:
    """Measure every candidate once, in random order."""
    script = folder / "load.lua"
    costs: Round = {}

    async def by_nginx() -> None:
        costs["nginx"] = await asyncio.to_thread(nginx_alone, folder, app, script, seconds)

    async def by_bare() -> None:
        costs["bare"] = await asyncio.to_thread(bare, app, script, seconds)

    async def by_gateway() -> None:
        with tempfile.TemporaryDirectory() as name:
            async with gateway(Path(name), app) as (city, registered):
                for durability in random.sample(("written", "synced"), 2):
                    request_path, everything = await chain(city, registered, durability, script, seconds)
                    costs[durability], costs[f"{durability}, everything"] = request_path, everything

    candidates: list[Callable[[], Awaitable[None]]] = [by_nginx, by_bare, by_gateway]
    random.shuffle(candidates)
    for candidate in candidates:
        await candidate()
    return costs


def nginx_alone(folder: Path, app: int, script: Path, seconds: float) -> Cost:
    """nginx, measured only if it is not held back by app or load; raises RuntimeError otherwise."""
    cost = bare_nginx(folder, app, script, seconds)
    direct = load(app, script, 1.0, LOAD_CORE)
    if cost.per_second < VOID * direct:
        raise RuntimeError(f"void: nginx answered {cost.per_second:.0f}/s, the app alone {direct}/s")
    return cost


async def rounds(count: int, seconds: float) -> list[Round]:
    """Run the rounds that are not void."""
    done: list[Round] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_script(folder / "load.lua", HOST, [token(number) for number in range(min(THREADS, SESSIONS))])
        port = nginx.free_port()
        app = nginx.start_app(folder, port, LOAD_CORE)
        try:
            for place in range(count):
                try:
                    costs = await one_round(folder, port, seconds)
                except RuntimeError as void:
                    print(f"round {place}: {void}", flush=True)
                    continue
                done.append(costs)
                told = "  ".join(f"{key} {cost.micros:.0f} µs" for key, cost in costs.items() if "every" not in key)
                print(f"round {place}: {told}", flush=True)
        finally:
            app.terminate()
            app.wait()
    return done


def summary(done: list[Round]) -> dict[str, dict[str, Any]]:
    """Median and quartiles of µs, and of the ratios to nginx of the same round."""
    return {
        name: {
            "micros": dataclasses.asdict(Spread.of([each[name].micros for each in done])),
            "ratio": dataclasses.asdict(Spread.of([each[name].micros / each["nginx"].micros for each in done])),
            "per_second": Spread.of([each[name].per_second for each in done]).median,
        }
        for name in NAMES
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures for people."""
    lines = [f"{'':38} {'µs/request':>20} {'ratio to nginx':>24} {'req/s':>8}"]
    for name, figure in figures.items():
        micros, ratio = figure["micros"], figure["ratio"]
        lines.append(
            f"{NAMES[name]:38} {micros['median']:8.1f} ({micros['low']:.0f}–{micros['high']:.0f})".ljust(62)
            + f"{ratio['median']:8.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})".ljust(26)
            + f"{figure['per_second']:8.0f}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "")  # fmt: skip
    return {
        "cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
        "nginx": nginx.version(), "uvloop": version("uvloop"), "httptools": version("httptools"),
        "orjson": version("orjson"), "load_average": os.getloadavg(), "connections": CONNECTIONS,
        "sessions": SESSIONS,
    }  # fmt: skip


def main() -> None:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(prog="benchmarks.run")
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer and shorter rounds")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    names = [part.name for part in PARTS]
    parser.add_argument("--without", action="append", default=[], choices=names, help="leave a part out")
    asked = parser.parse_args()
    count = asked.rounds or (2 if asked.quick else 8)
    seconds = asked.seconds or (1.5 if asked.quick else 3.0)
    os.sched_setaffinity(0, {GATEWAY_CORE})
    done = asyncio.run(rounds(count, seconds))
    if not done:
        sys.exit("every round was void: app and load need a core of their own")
    figures = summary(done)
    print(table(figures))
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "rounds": len(done),
        "seconds": seconds, "bounds": {"written": WRITTEN_BOUND}, "figures": figures,
    }  # fmt: skip
    failed = []
    ratio = figures["written"]["ratio"]["median"]
    if ratio > WRITTEN_BOUND:
        failed.append(f"P4: full chain written, request path: {ratio:.2f} × nginx, bound {WRITTEN_BOUND}")
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    for part in PARTS:
        if part.name not in asked.without:
            result[part.name] = part.measure(quick=asked.quick)
            print(part.line(result[part.name]), flush=True)
            failed += part.faults(result[part.name])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main()
