"""`make bench`: what the gateway costs beside nginx (promise P4), and the parts beside it (`benchmarks.parts`).

`python -m benchmarks.run [PART …] [--quick] [--rounds N] [--seconds S] [--without PART]`. Rounds are interleaved,
candidates in random order, each in fresh processes: proxies on core 0, app and wrk on core 1. CPU µs per request is
user and system time over the requests that wrk completed; ratios are taken within a round, since absolute figures mean
nothing on a shared machine. Prints a table, writes `benchmarks/results/latest.json`, exits 1 where a bound does not
hold. With PARTs (one is `path`, the table) those alone are measured and nothing is written.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import functools
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

from benchmarks import nginx, yardstick
from benchmarks.candidates import GATEWAY_CORE, LOAD_CORE, SESSIONS, bare, bare_nginx, chain, gateway, token
from benchmarks.measure import CONNECTIONS, THREADS, Cost, Spread, load, write_script
from benchmarks.parts import PARTS
from tests.support.running_city import HOST

RESULTS: Final = Path(__file__).parent / "results" / "latest.json"
PATH: Final = "path"  # the name of the table above among the parts
BOUNDS: Final = (
    ("written", "nginx", 3.5),
    ("bare", "nginx", 2.2),
    ("synced", "written", 1.1),
    ("written", "go tuned", 1.0),
    ("written, everything", "nginx", 4.5),
)
"""What may cost at most so many times as much as what, in the same round."""
VOID: Final = 0.25  # a round counts if nginx does at least this share of what the app does alone

NAMES: Final = {
    "nginx": "nginx proxy_pass",
    "bare": "bare edge",
    "written": "full chain, written: request path",
    "written, everything": "full chain, written: everything",
    "synced": "full chain, synced: request path",
    "synced, everything": "full chain, synced: everything",
    "go": "the same chain in Go, as it comes",
    "go tuned": "the same chain in Go, GOGC=800",
    "auth_request": "nginx auth_request + Go authoriser",
}
Round = dict[str, Cost]


async def one_round(folder: Path, app: int, seconds: float, program: Path | None) -> Round:
    """Measure every candidate once, in random order; those in Go where its `program` is."""
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

    async def in_go(name: str, measure: Callable[[], Cost]) -> None:
        costs[name] = await asyncio.to_thread(measure)

    candidates: list[Callable[[], Awaitable[None]]] = [by_nginx, by_bare, by_gateway]
    if program is not None:
        in_go_each = yardstick.rows(program, folder, app, script, seconds)
        candidates += [functools.partial(in_go, name, measure) for name, measure in in_go_each.items()]
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
        program = yardstick.build(folder) if yardstick.go() else None
        port = nginx.free_port()
        app = nginx.start_app(folder, port, LOAD_CORE)
        try:
            for place in range(count):
                try:
                    costs = await one_round(folder, port, seconds, program)
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
        if name in done[0]
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
        "nginx": nginx.version(), "go": yardstick.version(), "uvloop": version("uvloop"),
        "httptools": version("httptools"), "orjson": version("orjson"), "load_average": os.getloadavg(),
        "connections": CONNECTIONS, "sessions": SESSIONS,
    }  # fmt: skip


def judged(done: list[Round]) -> list[str]:
    """What does not hold of the goals for the request path, by the medians of the rounds' ratios."""
    faults = []
    for name, over, bound in BOUNDS:
        if over in done[0] and name in done[0]:
            ratio = Spread.of([each[name].micros / each[over].micros for each in done]).median
            if ratio > bound:
                faults.append(f"P4: {NAMES[name]}: {ratio:.2f} × {NAMES[over]}, bound {bound}")
    return faults


def request_path(count: int, seconds: int) -> tuple[dict[str, Any], list[str]]:
    """Measure the request path, print its table; return the result and what does not hold. Exits without a round."""
    os.sched_setaffinity(0, {GATEWAY_CORE})
    done = asyncio.run(rounds(count, seconds))
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if not done:
        sys.exit("every round was void: app and load need a core of their own")
    figures = summary(done)
    print(table(figures))
    if not yardstick.go():
        print("without Go: neither the same chain in Go nor nginx auth_request was measured")
    bounds = {f"{name} / {over}": bound for name, over, bound in BOUNDS}
    return {"rounds": len(done), "seconds": seconds, "bounds": bounds, "figures": figures}, judged(done)


def main() -> None:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(prog="benchmarks.run")
    names = [part.name for part in PARTS]
    parser.add_argument("only", nargs="*", help=f"measure these alone and write nothing: {PATH}, {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int)  # wrk knows whole ones only
    parser.add_argument("--without", action="append", default=[], choices=names, help="leave a part out")
    asked = parser.parse_args()
    if unknown := set(asked.only) - {PATH, *names}:
        parser.error(f"got {', '.join(sorted(unknown))}, expected {PATH} or one of {', '.join(names)}")
    result: dict[str, Any] = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine()}
    failed: list[str] = []
    if not asked.only or PATH in asked.only:
        told, failed = request_path(
            asked.rounds or (2 if asked.quick else 8), asked.seconds or (2 if asked.quick else 3)
        )
        result |= told
    for part in PARTS:
        if part.name in asked.only or (not asked.only and part.name not in asked.without):
            result[part.name] = part.measure(quick=asked.quick)
            print(part.line(result[part.name]), flush=True)
            failed += part.faults(result[part.name])
    if not asked.only:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main()
