"""What `make bench` measures besides the request path: each part is a process of its own that prints JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.support.running_city import ROOT

REVOCATION_BOUND: Final = 100.0  # ms, p99
RATE_BOUND: Final = 0.8  # of the official client's bulk helper
LAG_BOUND: Final = 2.0  # seconds, p95, at 1,000 records a second
BURST_BOUND: Final = 30.0  # seconds until the lag is back: five minutes after a minute, on a scale of one to ten
PROVING_BOUND: Final = 2.5  # CPU of verification over plain SHA-256 of the same bytes
KEEPING_BOUND: Final = 6.0  # CPU of a journal over SHA-256 and write() of the same bytes
SEARCH_BOUND: Final = 1000.0  # ms, p95
KEPT_BOUND: Final = 3.5  # KiB of the worker for each kept-alive connection that does nothing
SOCKET_BOUND: Final = 7.0  # KiB for each WebSocket
BODIES_BOUND: Final = 0.9  # nginx's CPU over ours for the same bodies of one mebibyte
SESSIONS_BOUND: Final = 1.05  # a request's cost with 200,000 live sessions over that with one

Told = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One part: its arguments, in full and where it must be quick, its line for people, and what does not hold."""

    name: str
    whole: tuple[str, ...]
    quick: tuple[str, ...]
    line: Callable[[Told], str]
    faults: Callable[[Told], list[str]]

    def measure(self, *, quick: bool) -> Told:
        """Run it to its end; raises subprocess.CalledProcessError."""
        command = [sys.executable, "-m", f"benchmarks.{self.name}", *(self.quick if quick else self.whole)]
        told: Told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
        return told


def _beyond(what: str, got: float, bound: float, unit: str = "") -> list[str]:
    return [f"{what}: {got:.2f}{unit}, bound {bound:g}{unit}"] if got > bound else []


def _revocation(told: Told) -> str:
    worst = told["worst"]
    parts = [
        f"to the {name}: " + ", ".join(f"{each} {worst[key + each]:.0f} ms" for each in ("p50", "p99", "largest"))
        for name, key in (("last byte", ""), ("end", "end_"))
    ]
    return f"revocation {'; '.join(parts)}"


def _keeping(told: Told) -> str:
    return f"journal: {told['micros_per_record']['median']:.0f} µs a record, {told['ratio']['median']:.1f} × plain"


def _proving(told: Told) -> str:
    rate = told["per_core_second"]
    return (
        f"verify: {rate['verify']:,.0f} records/s a core, {told['ratio']['median']:.1f} × plain SHA-256; "
        f"{told['second_process_gain']['median']:.2f} × as fast with 2 processes; "
        f"Merkle append {rate['Merkle append']:,.0f}/s"
    )


def _searching(told: Told) -> str:
    return (
        f"search of {told['events']:,} events: p50 {told['p50_ms']:.0f} ms, p95 {told['p95_ms']:.0f} ms "
        f"({told['slowest']}); index built at {told['build_per_second']:,.0f} events/s of CPU"
    )


def _shipping(told: Told) -> str:
    rate, lag = told["rate"], told["lag"]
    return (
        f"shipping: {rate['ratio']['median']:.2f} × the official bulk helper's rate; lag p95 {lag['p95']:.2f} s; "
        f"back after {lag['burst_seconds']:.0f} s; auditor {lag['auditor_cpu_micros_per_record']} µs a record"
    )


def _shipping_faults(told: Told) -> list[str]:
    ratio, lag = told["rate"]["ratio"]["median"], told["lag"]
    slow = [f"P6: rate beside the official helper: {ratio:.2f}, bound {RATE_BOUND}"] if ratio < RATE_BOUND else []
    back = [] if lag["recovered"] else ["P6: the lag of a burst did not go back"]
    return [
        *slow, *back, *_beyond("P6: lag p95", lag["p95"], LAG_BOUND, " s"),
        *_beyond("P6: lag after a burst", lag["burst_seconds"], BURST_BOUND, " s"),
    ]  # fmt: skip


def _holding(told: Told) -> str:
    return f"memory: {told['kept']:.1f} KiB a kept-alive connection, {told['socket']:.1f} KiB a WebSocket"


def _holding_faults(told: Told) -> list[str]:
    return [
        *_beyond("P4: memory of a kept-alive connection", told["kept"], KEPT_BOUND, " KiB"),
        *_beyond("P4: memory of a WebSocket", told["socket"], SOCKET_BOUND, " KiB"),
    ]


def _bodies(told: Told) -> str:
    ways = [
        f"{way} {told[way]['ratio']['median']:.2f} × ({told[way]['ratio_tuned']['median']:.2f} × with large buffers)"
        for way in ("download", "upload")
    ]
    return f"bodies of 1 MiB, bytes a CPU second beside nginx: {', '.join(ways)}"


def _bodies_faults(told: Told) -> list[str]:
    ratios = {way: told[way]["ratio"]["median"] for way in ("download", "upload")}
    return [
        f"P4: {way} of 1 MiB: {ratio:.2f} × nginx's bytes a CPU second, bound {BODIES_BOUND}"
        for way, ratio in ratios.items()
        if ratio < BODIES_BOUND
    ]


def _latency(told: Told) -> str:
    lines = []
    for rate, each in told.items():
        for who, percentiles in each.items():
            shown = ", ".join(f"{name} {taken:.1f}" for name, taken in percentiles.items())
            lines.append(f"latency at {rate}/s, {who}: {shown} ms")
    return "\n".join(lines)


def _many(told: Told) -> str:
    return (
        f"{told['live']:,} live sessions: {told['sessions']['median']:.2f} × a request; "
        f"200 rules over 30 apps: {told['rules']['median']:.2f} ×"
    )


PARTS: Final = (
    Part("holding", ("2000",), ("500",), _holding, _holding_faults),
    Part("bodies", ("4",), ("1",), _bodies, _bodies_faults),
    Part("latency", ("5", "2"), ("2", "1"), _latency, lambda _: []),
    Part("many", ("3",), ("1",), _many,
         lambda told: _beyond("P4: 200,000 live sessions", told["sessions"]["median"], SESSIONS_BOUND)),
    Part("revocation", ("1000", "3"), ("200", "1"), _revocation,
         lambda told: _beyond("P3: revocation p99", told["worst"]["p99"], REVOCATION_BOUND, " ms")),
    Part("keeping", ("5",), ("1",), _keeping,
         lambda told: _beyond("journal over plain", told["ratio"]["median"], KEEPING_BOUND)),
    Part("proving", ("3",), ("1",), _proving,
         lambda told: _beyond("P5: verify over SHA-256", told["ratio"]["median"], PROVING_BOUND)),
    Part("searching", ("--events", "2000000", "--rounds", "3"), ("--events", "200000", "--rounds", "1"), _searching,
         lambda told: _beyond("search p95", told["p95_ms"], SEARCH_BOUND, " ms")),
    Part("shipping", ("3",), ("1",), _shipping, _shipping_faults),
)  # fmt: skip
