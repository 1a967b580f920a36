"""CPU time of process trees, wrk, and ratios over interleaved rounds."""

from __future__ import annotations

import dataclasses
import os
import re
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.load import HEADERS, TARGET, cookie

THREADS: Final = 16  # each with the cookie of one session, as each browser has its own connections
CONNECTIONS: Final = 64
_TICK: Final = os.sysconf("SC_CLK_TCK")


class LoadFault(Exception):
    """wrk saw an answer other than 2xx, or a socket error: the round says nothing."""


def processes() -> dict[int, int]:
    """Every process by its id, with its parent's."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(path.parent.name)] = int(fields[1])
    return found


def tree(root: int) -> set[int]:
    """A process and all that descend from it."""
    parents = processes()
    members = {root}
    while more := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes, with their children that ended."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / _TICK


def write_script(path: Path, host: str, tokens: Sequence[str]) -> None:
    """Write wrk's script: browser headers, and for each thread the cookie of another session.

    Whatever host the URL names (TLS needs the app's, RFC 6066 §3), wrk connects to this machine.
    """
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in {"Host": host, **HEADERS}.items()]
    cookies = ", ".join(f'"{cookie(token)}"' for token in tokens)
    lines += [
        f"local cookies = {{ {cookies} }}",
        "number = 0",  # not local: each thread has the script of its own, and is told its number through this
        'function setup(thread) number = number + 1; thread:set("number", number) end',
        'function init(args) wrk.headers["Cookie"] = cookies[(number - 1) % #cookies + 1] end',
        'function wrk.resolve(host, service) wrk.addrs = wrk.lookup("127.0.0.1", service) end',
    ]
    path.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True)
class Answered:
    """What wrk saw of one load."""

    requests: int
    latency: Mapping[str, float]  # ms, by the share of the requests that took no longer: "50%", "99%"


def wrk(
    url: str, script: Path, seconds: float, cores: str, *, threads: int = THREADS, each: int = CONNECTIONS // THREADS
) -> Answered:
    """Load a URL for so long (whole seconds) over `each` connections a thread; raises LoadFault."""
    command = [
        "taskset", "-c", cores, "wrk", f"-t{threads}", f"-c{threads * each}", "-s", str(script), "--latency",
        f"-d{seconds:g}s", url,
    ]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return read(said)


def read(said: str) -> Answered:
    """Read what wrk prints; raises LoadFault where an answer was no success or a connection failed."""
    if "Non-2xx" in said or re.search(r"Socket errors:.*(connect|write|timeout) [1-9]", said):
        raise LoadFault(said)
    scale = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    found = re.findall(r"^ +(\d+%) +([\d.]+)(us|ms|s)$", said, re.MULTILINE)
    latency = {share: float(value) * scale[unit] for share, value, unit in found}
    return Answered(int(re.findall(r"(\d+) requests in", said)[0]), latency)


def load(port: int, script: Path, seconds: float, core: int, target: str = TARGET, threads: int = THREADS) -> int:
    """Load a port for so long (whole seconds); return the requests that were answered. Raises LoadFault.

    There are four connections a thread.
    """
    return wrk(f"http://127.0.0.1:{port}{target}", script, seconds, str(core), threads=threads).requests


@dataclass(frozen=True, slots=True)
class Cost:
    """What one candidate cost in one round."""

    micros: float  # CPU µs per request
    per_second: float  # requests answered


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    low: float
    high: float
    least: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, min(values))


def beside(rounds: Sequence[Mapping[str, float]], ours: str = "gateway") -> dict[str, Any]:
    """Sum up what each candidate cost in each round: the medians, and our ratios to the others of the same round."""
    others = [name for name in rounds[0] if name != ours]
    return {
        "cost": {name: Spread.of([each[name] for each in rounds]).median for name in rounds[0]},
        "ratio": {name: dataclasses.asdict(Spread.of([each[ours] / each[name] for each in rounds])) for name in others},
    }
