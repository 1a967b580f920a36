"""What proving the trail costs: verification beside plain SHA-256 of the same bytes, and growing the Merkle log.

`python -m benchmarks.proving ROUNDS` prints JSON. A trail of `RECORDS` requests as the gateway records them is made
once; in each round the ways take turns, so that ratios hold on a shared machine. CPU time is that of all processes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from audit.checkpoint import generate
from audit.log import TileLog
from audit.log import entries as leaves
from audit.verify import verify_journals
from benchmarks import progress
from benchmarks.measure import Spread
from tests.support.large_trails import grow
from tests.support.trails import Trail

RECORDS: Final = 1_000_000
_CHUNK: Final = 256 << 10
_FLUSH: Final = 1000  # records between two checkpoints, at most


def spent() -> float:
    """CPU seconds of this process and its children that ended."""
    return sum(os.times()[:4])


def plain_hash(trail: Trail) -> None:
    """SHA-256 over the journals' bytes, a file at a time: the yardstick."""
    for path in sorted(trail.journals.rglob("*.jsonl")):
        digest = sha256()
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                digest.update(data)


def proved(trail: Trail, jobs: int) -> None:
    """Verify everything."""
    result = verify_journals(trail.journals, trail.log, trail.signer.verifier, jobs=jobs)
    if result.records != RECORDS:
        raise RuntimeError(f"records: got {result.records}, expected {RECORDS}")


def appended(folder: Path, entries: list[bytes]) -> None:
    """Grow a log by all entries, durably after each `_FLUSH`."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        log = TileLog(Path(name))
        for start in range(0, len(entries), _FLUSH):
            for entry in entries[start : start + _FLUSH]:
                log.append(entry)
            log.flush()


def measure(rounds: int) -> dict[str, Any]:
    """Return CPU µs a record of each way, verification's ratio to the plain hash, and the gain of a second process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trail = Trail(folder / "journal", folder / "log", generate("log.example"))
        grow(trail, RECORDS, ["worker-0", "worker-1"])
        entries = list(leaves(trail.log, RECORDS))
        ways: dict[str, Callable[[], None]] = {
            "plain SHA-256": lambda: plain_hash(trail),
            "verify": lambda: proved(trail, 1),
            "verify, 2 processes": lambda: proved(trail, 2),
            "Merkle append": lambda: appended(folder, entries),
        }
        cpu: dict[str, list[float]] = {way: [] for way in ways}
        wall: dict[str, list[float]] = {way: [] for way in ways}
        for _ in progress.rounds("proving", rounds):
            for way in random.sample(list(ways), len(ways)):
                started, used = time.monotonic(), spent()
                ways[way]()
                cpu[way].append((spent() - used) / RECORDS * 1e6)
                wall[way].append(time.monotonic() - started)
        size = sum(path.stat().st_size for path in trail.journals.rglob("*.jsonl"))
    ratios = [mine / yardstick for mine, yardstick in zip(cpu["verify"], cpu["plain SHA-256"], strict=True)]
    gains = [one / two for one, two in zip(wall["verify"], wall["verify, 2 processes"], strict=True)]
    return {
        "records": RECORDS, "bytes_per_record": size / RECORDS, "rounds": rounds,
        "micros": {way: dataclasses.asdict(Spread.of(values)) for way, values in cpu.items()},
        "per_core_second": {way: 1e6 / Spread.of(values).median for way, values in cpu.items()},
        "ratio": dataclasses.asdict(Spread.of(ratios)), "second_process_gain": dataclasses.asdict(Spread.of(gains)),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    json.dump(measure(int(sys.argv[1])), sys.stdout)


if __name__ == "__main__":
    main()
