"""A fixed sample of single bits: each that is changed is found, and its file named. Every bit: `tests/torture`."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.checkpoint import generate
from audit.verify import verify_journals
from tests.support.flips import every, files, small, some, survivors
from tests.support.large_trails import grow
from tests.support.trails import Trail


@pytest.mark.parametrize(("compressed", "count"), [(False, 500), (True, 400)])
@pytest.mark.promise("P5.flipped-bits-named")
def test_no_flipped_bit_of_a_small_trail_passes_and_its_file_is_named(
    tmp_path: Path, compressed: bool, count: int
) -> None:
    trail = small(tmp_path, compressed=compressed)
    assert verify_journals(trail.journals, trail.log, trail.signer.verifier).tail_records == 0
    missed, harmless = survivors(tmp_path, trail.signer.verifier, some(tmp_path, count, 4))
    assert missed == []
    assert harmless <= (4 if compressed else 0)
    kinds = {path.parts[:-1] for path in files(tmp_path)}
    assert {("journal", "w0"), ("log",), ("log", "tile", "0", "000.p"), ("log", "tile", "entries", "000.p")} <= kinds


def test_no_flipped_bit_of_a_checkpoint_passes(tmp_path: Path) -> None:
    trail = small(tmp_path, compressed=False)
    flips = [flip for flip in every(tmp_path) if flip.path.name == "checkpoint"]
    assert len(flips) > 1000
    assert survivors(tmp_path, trail.signer.verifier, flips) == ([], 0)


@pytest.mark.promise("P5.flipped-bits-named")
def test_no_flipped_bit_of_ten_thousand_records_passes(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))
    assert grow(trail, 10_000, ["worker-0", "worker-1"]) == 10_000
    assert survivors(tmp_path, trail.signer.verifier, some(tmp_path, 40, 4)) == ([], 0)
