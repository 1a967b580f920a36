"""`make bench`: the gateway's cost beside nginx, revocation, shipping to Elasticsearch (promises P4, P3 and P6).

`python -m benchmarks.run [--quick] [--rounds N] [--seconds S] [--no-revocation] [--no-shipping]`. Rounds
are interleaved, candidates in random order, each in fresh processes: proxies on core 0, app and wrk on core 1. CPU µs
per request is user and system time over the requests that wrk completed; ratios are taken within a round, since
absolute figures mean nothing on a shared machine. Prints a table, writes `benchmarks/results/latest.json`, exits 1
where a bound does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import random
import subprocess
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
from tests.support.running_city import HOST, ROOT

RESULTS: Final = Path(__file__).parent / "results" / "latest.json"
WRITTEN_BOUND: Final = 3.5  # full chain `written`, request path, over nginx
REVOCATION_BOUND: Final = 100.0  # ms, p99
RATE_BOUND: Final = 0.8  # of the official client's bulk helper
LAG_BOUND: Final = 2.0  # seconds, p95, at 1,000 records a second
BURST_BOUND: Final = 30.0  # seconds until the lag is back: five minutes after a minute, on a scale of one to ten
PROVING_BOUND: Final = 6.0  # CPU of verification over plain SHA-256 of the same bytes
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


def revocation(quick: bool) -> dict[str, Any]:
    """Figures of `benchmarks.revocation`: 1,000 connections in three rounds, fewer where it must be quick."""
    size = ("200", "1") if quick else ("1000", "3")
    command = [sys.executable, "-m", "benchmarks.revocation", *size]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    return told


def shipping(quick: bool) -> dict[str, Any]:
    """Figures of `benchmarks.shipping`: the rate in three turns, one where it must be quick; lag and burst."""
    command = [sys.executable, "-m", "benchmarks.shipping", "1" if quick else "3"]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
    rate, lag = told["rate"], told["lag"]
    print(
        f"shipping: {rate['ratio']['median']:.2f} × the official bulk helper's rate; lag p95 {lag['p95']:.2f} s; "
        f"back after {lag['burst_seconds']:.0f} s; auditor {lag['auditor_cpu_micros_per_record']} µs a record"
    )
    return told


def shipping_faults(told: dict[str, Any]) -> list[str]:
    """What of P6's bounds does not hold."""
    ratio, lag, back = told["rate"]["ratio"]["median"], told["lag"]["p95"], told["lag"]["burst_seconds"]
    return [
        f"P6: {what}: {got}, bound {bound}"
        for what, got, bound, holds in (
            ("rate beside the official helper", f"{ratio:.2f}", RATE_BOUND, ratio >= RATE_BOUND),
            ("lag p95 in seconds", f"{lag:.2f}", LAG_BOUND, lag < LAG_BOUND),
            ("seconds after a burst", f"{back:.0f}", BURST_BOUND, told["lag"]["recovered"] and back <= BURST_BOUND),
        )
        if not holds
    ]


def proving(quick: bool) -> dict[str, Any]:
    """Figures of `benchmarks.proving`: verification and the Merkle log in three turns, one where it must be quick."""
    command = [sys.executable, "-m", "benchmarks.proving", "1" if quick else "3"]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
    rate = told["per_core_second"]
    print(
        f"verify: {rate['verify']:,.0f} records/s a core, {told['ratio']['median']:.1f} × plain SHA-256; "
        f"{told['second_process_gain']['median']:.2f} × as fast with 2 processes; "
        f"Merkle append {rate['Merkle append']:,.0f}/s"
    )
    return told


def proving_faults(told: dict[str, Any]) -> list[str]:
    """What of P5's bound does not hold."""
    ratio = told["ratio"]["median"]
    return [f"P5: verify: {ratio:.1f} × plain SHA-256, bound {PROVING_BOUND}"] if ratio > PROVING_BOUND else []


def main() -> None:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(prog="benchmarks.run")
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer and shorter rounds")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--no-revocation", action="store_true")
    parser.add_argument("--no-shipping", action="store_true")
    parser.add_argument("--no-proving", action="store_true")
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
        "seconds": seconds, "bounds": {"written": WRITTEN_BOUND, "revocation_p99_ms": REVOCATION_BOUND},
        "figures": figures,
    }  # fmt: skip
    failed = []
    ratio = figures["written"]["ratio"]["median"]
    if ratio > WRITTEN_BOUND:
        failed.append(f"P4: full chain written, request path: {ratio:.2f} × nginx, bound {WRITTEN_BOUND}")
    if not asked.no_revocation:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        result["revocation"] = revocation(asked.quick)
        worst = result["revocation"]["worst"]
        for name, key in (("last byte", ""), ("end", "end_")):
            told = [f"{each} {worst[key + each]:.0f} ms" for each in ("p50", "p99", "largest")]
            print(f"revocation, to the {name}: {', '.join(told)}")
        if worst["p99"] > REVOCATION_BOUND:
            failed.append(f"P3: revocation p99 {worst['p99']:.0f} ms, bound {REVOCATION_BOUND:.0f} ms")
    if not asked.no_shipping:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        result["shipping"] = shipping(asked.quick)
        failed += shipping_faults(result["shipping"])
    if not asked.no_proving:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        result["proving"] = proving(asked.quick)
        failed += proving_faults(result["proving"])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main()
