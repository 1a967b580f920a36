"""`make bench`: what the gateway costs beside nginx (promise P4), and the parts beside it (`benchmarks.parts`).

`python -m benchmarks.run [PART …] [--quick] [--rounds N] [--seconds S] [--without PART]`; `--list` tells the parts. The
first, `path`, has interleaved rounds, candidates in random order, each in fresh processes: proxies on core 0, app and
wrk on core 1. CPU µs per request is user and system time over the requests that wrk completed; ratios are taken within
a round, since absolute figures mean nothing on a shared machine. Prints tables, the last one of all bounds
(`benchmarks.bounds`). A whole run writes `benchmarks/results/latest.json`.
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
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks import nginx, progress, yardstick
from benchmarks.bounds import GO, PATH, judged, verdict
from benchmarks.bounds import table as bounds_table
from benchmarks.candidates import (
    COMPILED,
    GATEWAY_CORE,
    LOAD_CORE,
    SESSIONS,
    bare,
    bare_nginx,
    chain,
    gateway,
    lacks_compiled,
    on_cores,
    runs_compiled,
    token,
)
from benchmarks.measure import CONNECTIONS, THREADS, Cost, LoadFault, Spread, load, write_script
from benchmarks.parts import PARTS
from tests.support.ports import free_port
from tests.support.running_city import HOST

RESULTS: Final = Path(__file__).parent / "results" / "latest.json"
EXIT: Final = "Exit 0: all bounds hold, 1: those that do not are named, 3: one could not be measured."
_ABOUT: Final = "CPU of a request beside nginx: bare edge, full chain by both durabilities, Go, nginx auth_request"
_TAKES: Final = (410, 110)  # seconds, about: in full, quick
VOID: Final = 0.25  # a round counts if nginx does at least this share of what the app does alone

NAMES: Final = {
    "nginx": "nginx proxy_pass",
    "bare": "bare edge",
    "written": "full chain, written: request path",
    "written, everything": "full chain, written: everything",
    "synced": "full chain, synced: request path",
    "synced, everything": "full chain, synced: everything",
    "compiled": "full chain, written, compiled: request path",
    "compiled, everything": "full chain, written, compiled: everything",
    "go": "the same chain in Go, as it comes",
    "go tuned": "the same chain in Go, GOGC=800",
    "auth_request": "nginx auth_request + Go authoriser",
}
Round = dict[str, Cost]


async def one_round(folder: Path, app: int, seconds: float, program: Path | None, copy: Path | None) -> Round:
    """Measure every candidate once, in random order; those in Go where its `program` is, the compiled `copy` if any."""
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

    async def by_compiled(copy: Path) -> None:
        with tempfile.TemporaryDirectory() as name:
            async with gateway(Path(name), app, program=copy) as (city, registered):
                runs_compiled(city, copy)
                request_path, everything = await chain(city, registered, "written", script, seconds)
                costs["compiled"], costs["compiled, everything"] = request_path, everything

    async def in_go(name: str, measure: Callable[[], Cost]) -> None:
        costs[name] = await asyncio.to_thread(measure)

    candidates: list[Callable[[], Awaitable[None]]] = [by_nginx, by_bare, by_gateway]
    if copy is not None:
        candidates.append(functools.partial(by_compiled, copy))
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


async def rounds(count: int, seconds: float, copy: Path | None) -> list[Round]:
    """Run the rounds that are not void, with the compiled `copy` if there is one of these sources."""
    done: list[Round] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_script(folder / "load.lua", HOST, [token(number) for number in range(min(THREADS, SESSIONS))])
        program = yardstick.build(folder) if yardstick.go() else None
        port = free_port()
        app = nginx.start_app(folder, port, LOAD_CORE)
        try:
            for place in range(count):
                try:
                    costs = await one_round(folder, port, seconds, program, copy)
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


def ratios(done: list[Round]) -> dict[str, dict[str, float]]:
    """Each candidate over those that bounds are about, by "this / that": quartiles of the ratios within a round."""
    return {
        f"{name} / {over}": dataclasses.asdict(Spread.of([each[name].micros / each[over].micros for each in done]))
        for name in done[0]
        for over in ("nginx", "written", *GO)
        if over in done[0] and name != over
    }


def request_path(count: int, seconds: int) -> dict[str, Any]:
    """Measure the request path, print its table; return the result. Raises RuntimeError without a round."""
    lacking = lacks_compiled(COMPILED)
    with on_cores({GATEWAY_CORE}):
        done = asyncio.run(rounds(count, seconds, None if lacking else COMPILED))
    if not done:
        raise RuntimeError("every round was void: app and load need a core of their own")
    figures = summary(done)
    print(table(figures))
    told = ratios(done)
    if "go" in figures:
        beside = ", ".join(f"{told[f'written, everything / {name}']['median']:.2f} × {NAMES[name]}" for name in GO)
        print(f"everything beside Go, whose chain keeps neither transparency log nor index: {beside}")
    else:
        print("without Go: neither the same chain in Go nor nginx auth_request was measured")
    if lacking:
        print(f"the compiled copy was not measured: {lacking}")
    return {"rounds": len(done), "seconds": seconds, "figures": figures, "ratios": told}


def arguments() -> argparse.Namespace:
    """What was asked for."""
    about = {PATH: _ABOUT, **{part.name: part.about for part in PARTS}}
    parser = argparse.ArgumentParser(
        prog="benchmarks.run", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="parts:\n" + "\n".join(f"  {name:11} {what}" for name, what in about.items()) + f"\n\n{EXIT}",
    )  # fmt: skip
    parser.add_argument("only", nargs="*", metavar="PART", help="measure these alone and write nothing")
    parser.add_argument("--list", action="store_true", help="tell the parts with their bounds, and measure nothing")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, and write nothing")
    parser.add_argument("--rounds", type=int, help="of the request path")
    parser.add_argument("--seconds", type=int, help="of load in each of them")  # wrk knows whole ones only
    parser.add_argument("--without", action="append", default=[], choices=list(about), help="leave a part out")
    asked = parser.parse_args()
    if unknown := set(asked.only) - set(about):
        parser.error(f"got {', '.join(sorted(unknown))}, expected one of {', '.join(about)}")
    asked.parts = [name for name in about if (name in asked.only or not asked.only) and name not in asked.without]
    return asked


def expected(parts: Sequence[str], recorded: Mapping[str, float], *, quick: bool) -> dict[str, float]:
    """Return about how many seconds each part takes: as many as it took in the recorded run, where that is known."""
    known = {PATH: _TAKES, **{part.name: part.seconds for part in PARTS}}
    return {name: float(recorded.get(name, known[name][quick])) for name in parts}


def plan(parts: Sequence[str], *, quick: bool) -> str:
    """What is going to be measured, and about how long that takes."""
    recorded = {} if quick or not RESULTS.exists() else json.loads(RESULTS.read_text()).get("took", {})
    seconds = expected(parts, recorded, quick=quick)
    each = ", ".join(f"{name} {progress.spelt(taken)}" for name, taken in seconds.items())
    return f"about {progress.spelt(sum(seconds.values()))}: {each}"


def listed() -> str:
    """The parts with what they measure and what has to hold of it."""
    lines = []
    for name, about in ((PATH, _ABOUT), *((part.name, part.about) for part in PARTS)):
        lines.append(f"{name}: {about}")
        lines += [f"    {row.bound.what}: {row.limit}" for row in judged({name: {}})]
    return "\n".join(lines)


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Measure each part that was asked for, one after the other; return the results by name, and what each took.

    Under `failed` are the parts that came to no result; the others are measured all the same.
    """
    results: dict[str, Any] = {}
    took: dict[str, float] = {}
    failed: dict[str, str] = {}
    parts = {part.name: part for part in PARTS}
    for name in asked.parts:
        begun = time.monotonic()
        print(f"— {name}", flush=True)
        try:
            if name == PATH:
                count, seconds = (2, 2) if asked.quick else (7, 3)
                results[name] = request_path(asked.rounds or count, asked.seconds or seconds)
            else:
                results[name] = parts[name].measure(quick=asked.quick)
                print(parts[name].line(results[name]), flush=True)
        except (LoadFault, RuntimeError, subprocess.CalledProcessError) as fault:
            results[name], failed[name] = {}, str(fault)
            print(f"{name}: {fault}", flush=True)
        took[name] = round(time.monotonic() - begun, 1)
    return {**results, "took": took, "failed": failed}


def main() -> None:
    """Measure, print, write, judge."""
    asked = arguments()
    if asked.list:
        print(listed())
        return
    print(plan(asked.parts, quick=asked.quick), flush=True)
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    result = {"date": date, "machine": machine(), **measured(asked)}
    if asked.parts == [PATH, *(part.name for part in PARTS)] and not (asked.quick or result["failed"]):
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    held = judged({name: result[name] for name in asked.parts})
    print(bounds_table(held))
    print(f"took {progress.spelt(sum(result['took'].values()))}", flush=True)
    status, told = verdict(held, result["failed"])
    print(told, file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
