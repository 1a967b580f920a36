"""Verification in a process of its own, so that its memory and processor time can be told: prints them as JSON.

`python -m tests.support.verifying_process JOURNALS LOG KEY JOBS`, the key in note format.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from audit.checkpoint import read_verifier
from audit.verify import verify_journals
from tests.support.trails import Trail

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cost:
    """What one verification took."""

    records: int
    cpu: float  # seconds, of all its processes
    wall: float  # seconds
    memory: int  # KiB at most, of its largest process

    @property
    def micros(self) -> float:
        """CPU µs a record."""
        return self.cpu / self.records * 1e6


def cost(trail: Trail, jobs: int) -> Cost:
    """Verify a trail in a process of its own."""
    command = [
        sys.executable, "-m", "tests.support.verifying_process", str(trail.journals), str(trail.log),
        trail.signer.verifier.encode(), str(jobs),
    ]  # fmt: skip
    return Cost(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout))


def own_peak() -> int:
    """Return the most memory that this process had, in KiB; `ru_maxrss` would include what it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Verify and tell."""
    journals, log, key, jobs = sys.argv[1:]
    wall, cpu = time.monotonic(), sum(os.times()[:4])
    proved = verify_journals(Path(journals), Path(log), read_verifier(key), jobs=int(jobs))
    told = {
        "records": proved.records, "cpu": sum(os.times()[:4]) - cpu, "wall": time.monotonic() - wall,
"memory": max(own_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss),
    }  # fmt: skip
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
