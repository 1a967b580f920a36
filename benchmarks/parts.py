"""What `make bench` measures besides the request path: each part is a process of its own that prints JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.bounds import GO
from tests.support.running_city import ROOT

Told = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One part: what it measures, its arguments and its seconds, in full and quick, and its lines for people."""

    name: str
    about: str
    whole: tuple[str, ...]
    quick: tuple[str, ...]
    seconds: tuple[int, int]  # about so long, in full and quick
    line: Callable[[Told], str]

    def measure(self, *, quick: bool) -> Told:
        """Run it to its end; raises subprocess.CalledProcessError."""
        command = [sys.executable, "-m", f"benchmarks.{self.name}", *(self.quick if quick else self.whole)]
        told: Told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
        return told


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


def _holding(told: Told) -> str:
    each = [
        f"{who} {told[who]['kept']:.1f} and {told[who]['socket']:.1f}"
        for who in ("gateway", *GO) if who in told
    ]  # fmt: skip
    return f"memory, KiB a kept-alive connection and a WebSocket: {', '.join(each)}"


def _bodies(told: Told) -> str:
    over = {"ratio": "nginx", "ratio_tuned": "nginx with large buffers", **{f"ratio_{who}": who for who in GO}}
    lines = []
    for way in ("download", "upload"):
        shown = [f"{told[way][key]['median']:.2f} × {who}" for key, who in over.items() if key in told[way]]
        lines.append(f"bodies of 1 MiB, {way}, bytes a CPU second: {', '.join(shown)}")
    return "\n".join(lines)


def _latency(told: Told) -> str:
    lines = []
    for rate, each in told.items():
        for who, percentiles in each["ms"].items():
            shown = ", ".join(f"{name} {taken:.1f}" for name, taken in percentiles.items())
            lines.append(f"latency at {rate}/s, {who}: {shown} ms")
    return "\n".join(lines)


def _beside(told: Told, unit: str, scale: float = 1.0) -> str:
    """What a request costs with each, and our ratio to the others."""
    shown = []
    for who, cost in told["cost"].items():
        ratio = f" ({told['ratio'][who]['median']:.2f} ×)" if who in told["ratio"] else ""
        shown.append(f"{who} {cost * scale:.{1 if scale < 1 or cost < 10 else 0}f} {unit}{ratio}")
    return ", ".join(shown)


def _secured(told: Told) -> str:
    return "\n".join([
        f"TLS, kept alive: {_beside(told['kept'], 'µs')}",
        f"TLS, new connection, full handshake: {_beside(told['new'], 'ms', 1e-3)}",
        f"TLS, new connection, resumed: {_beside(told['resumed'], 'ms', 1e-3)}",
    ])  # fmt: skip


def _workers(told: Told) -> str:
    gained = [
        f"{who} {told['gain'][who]['median']:.2f} × the requests at {told['more'][who]['median']:.2f} × the CPU of one"
        for who in told["gain"]
    ]
    return (
        f"2 workers: {_beside(told['2'], 'µs')}\n2 workers over 1 on shared cores: {', '.join(gained)}; "
        f"the lesser worker had {told['least']:.0%}"
    )


def _fanout(told: Told) -> str:
    late = [
        f"{who} " + ", ".join(f"{share} {value:.1f}" for share, value in each.items())
        for who, each in told["added_ms"].items()
    ]
    what = f"{told['waiting']} requests waiting for an app that takes {told['delay_ms']} ms"
    return (
        f"{what}, CPU a request: {_beside(told['cpu'], 'µs')}\n{what}, memory each: {_beside(told['memory'], 'KiB')}\n"
        f"{what}, added latency in ms: {'; '.join(late)}"
    )


def _many(told: Told) -> str:
    return (
        f"{told['live']:,} live sessions: {told['sessions']['median']:.2f} × a request; "
        f"200 rules over 30 apps: {told['rules']['median']:.2f} ×"
    )


PARTS: Final = (
    Part("secured", "TLS: kept-alive requests, new connections by full and resumed handshakes; beside nginx and Go",
         ("2", "3"), ("1", "1"), (125, 50), _secured),
    Part("workers", "2 workers beside 1 on both cores; nginx and Go too", ("3", "3"), ("1", "1"), (115, 50), _workers),
    Part("fanout", "many requests that wait for a slow app: CPU, memory, added latency; beside nginx and Go",
         ("3", "3"), ("1", "1"), (75, 40), _fanout),
    Part("bodies", "1 MiB down and up: bytes a CPU second beside nginx and Go", ("3",), ("1",), (105, 45), _bodies),
    Part("latency", "open loop at fixed rates: p50, p99, p99.9; beside nginx and Go", ("4", "3"), ("2", "1"), (110, 40),
         _latency),
    Part("many", "200,000 live sessions, and 200 rules over 30 apps, beside few", ("3",), ("1",), (70, 30), _many),
    Part("holding", "memory of idle kept-alive connections and WebSockets; beside Go", ("2000",), ("500",), (45, 25),
         _holding),
    Part("revocation", "from a revocation to the last byte of 1,000 live connections", ("1000", "3"), ("200", "1"),
         (90, 30), _revocation),
    Part("keeping", "a journal's CPU beside SHA-256 and write() of the same bytes", ("5",), ("1",), (15, 5), _keeping),
    Part("proving", "verification of a million records beside plain SHA-256", ("2",), ("1",), (120, 80), _proving),
    Part("searching", "ten questions to a year of events", ("--events", "2000000", "--rounds", "3"),
         ("--events", "200000", "--rounds", "1"), (60, 30), _searching),
    Part("shipping", "into Elasticsearch beside the official bulk helper; lag at a steady rate and after a burst",
         ("2",), ("1",), (150, 110), _shipping),
)  # fmt: skip
