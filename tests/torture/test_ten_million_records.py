"""Verification of up to ten million records: time a record and memory stay what they are at a million."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.checkpoint import generate
from tests.support.large_trails import LargeTrail
from tests.support.trails import Trail
from tests.support.verifying_process import Cost, cost

SIZES = tuple(int(size) for size in os.environ.get("SEKISHO_TORTURE_RECORDS", "1000000,4000000,10000000").split(","))
BYTES_A_RECORD = 1000
SLOPE = 1.3  # CPU a record at the largest size over that at the smallest; the machine's own noise is about 1.2
MEMORY = 48 * 1024  # KiB that the largest may take more than the smallest


@pytest.mark.timeout(7200)
@pytest.mark.promise("P5.verify-scales")
def test_time_a_record_and_memory_do_not_grow(tmp_path: Path, figure: Callable[[str], None]) -> None:
    if shutil.disk_usage(tmp_path).free < 2 * SIZES[-1] * BYTES_A_RECORD:
        pytest.skip(f"{2 * SIZES[-1] * BYTES_A_RECORD >> 30} GiB free are needed")
    large = LargeTrail(
        Trail(tmp_path / "journal", tmp_path / "log", generate("log.example")), [f"worker-{at}" for at in range(4)]
    )
    costs: list[Cost] = []
    try:
        for size in SIZES:
            assert large.grow(size) == size
            costs.append(cost(large.trail, 0))
            assert costs[-1].records == size
            took = costs[-1]
            figure(
                f"{size} records verified: {took.micros:.2f} µs of CPU each, {size / took.wall:.0f} a second on "
                f"{os.cpu_count()} cores, {took.memory >> 10} MiB at most"
            )
    finally:
        shutil.rmtree(tmp_path / "journal")
        shutil.rmtree(tmp_path / "log")
    assert costs[-1].micros < costs[0].micros * SLOPE
    assert costs[-1].memory < costs[0].memory + MEMORY
