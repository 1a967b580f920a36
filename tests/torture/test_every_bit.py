"""Every single bit of a trail of a hundred records, plain and compressed; 10,000 random ones of 10,000 records."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import pytest

from audit.checkpoint import generate, read_verifier
from audit.verify import verify_journals
from audit.verifying import hashing
from tests.support.flips import Flip, every, small, some, survivors
from tests.support.large_trails import grow
from tests.support.trails import Trail

PARTS = os.cpu_count() or 1
MEMORY = Path("/dev/shm")
Figure = Callable[[str], None]


def part(root: Path, key: str, flips: list[Flip] | None, number: int) -> tuple[int, list[str], int]:
    """Flip each `PARTS`-th bit of this copy, beginning with `number`; returns how many those were, and `survivors`.

    Chosen bits are verified by hashing side by side, as only long trails are otherwise.
    """
    if flips is not None:
        hashing.WORTH = 0  # type: ignore[misc]
    wanted = list(islice(every(root) if flips is None else flips, number, None, PARTS))
    return len(wanted), *survivors(root, read_verifier(key), wanted)


def flipped(trail: Trail, flips: list[Flip] | None, figure: Figure) -> list[str]:
    """Flip bits in as many copies as there are cores; `None` is every bit."""
    started, key = time.monotonic(), trail.signer.verifier.encode()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        copies = [Path(folder) / str(number) for number in range(PARTS)]
        for copy in copies:
            shutil.copytree(trail.log.parent, copy, ignore=shutil.ignore_patterns("lock"))
        with ProcessPoolExecutor(PARTS, mp_context=multiprocessing.get_context("spawn")) as pool:
            pending = [pool.submit(part, copy, key, flips, at) for at, copy in enumerate(copies)]
            done = [each.result() for each in pending]
    count, harmless = sum(number for number, _, _ in done), sum(same for _, _, same in done)
    took = f"{time.monotonic() - started:.0f} s on {PARTS} cores"
    figure(f"{count} bits flipped, each verified, {harmless} changed nothing that is read, in {took}")
    assert harmless < count / 100
    assert count > 9_000
    return [each for _, missed, _ in done for each in missed]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.promise("P5.every-bit")
def test_no_single_bit_of_a_hundred_records_can_be_flipped(tmp_path: Path, figure: Figure, compressed: bool) -> None:
    trail = small(tmp_path / "trail", compressed=compressed)
    assert verify_journals(trail.journals, trail.log, trail.signer.verifier).records == 100
    assert flipped(trail, None, figure) == []


@pytest.mark.timeout(7200)
def test_no_random_bit_of_ten_thousand_records_can_be_flipped(tmp_path: Path, figure: Figure) -> None:
    root = tmp_path / "trail"
    trail = Trail(root / "journal", root / "log", generate("log.example"))
    grow(trail, 10_000, ["worker-0", "worker-1"])
    assert flipped(trail, some(root, 10_000, 5), figure) == []
