"""Proofs from the tiles on disk: the same as by definition, for every tree that was signed, with few files read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from audit import tiles as tiles_module
from audit.log import LogDamaged, TileLog, tile_name
from audit.merkle import inclusion_path as path_by_definition
from audit.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from audit.places import index_of
from audit.tiles import Tiles, consistency_path, inclusion_path

SIZES = (1, 2, 3, 255, 256, 257, 511, 512, 700, 1000, 1024, 1025)


def entry(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8)).digest()


def grown(folder: Path, sizes: Sequence[int]) -> TileLog:
    """A log that was flushed at each of these sizes."""
    log = TileLog(folder)
    for size in sizes:
        while log.size < size:
            log.append(entry(log.size))
        log.flush()
    return log


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log")
    grown(path, SIZES)
    return path


@pytest.mark.parametrize("cuts", [(1,), (255, 1, 1), (256,), (257, 255), (1000, 24, 1), (3, 700, 5)])
def test_many_at_once_grow_the_same_log_as_one_by_one(tmp_path: Path, cuts: Sequence[int]) -> None:
    one, many = TileLog(tmp_path / "one"), TileLog(tmp_path / "many")
    for round_ in range(6):
        count = cuts[round_ % len(cuts)]
        new = [entry(one.size + number) for number in range(count)]
        for each in new:
            one.append(each)
        many.extend(b"".join(new))
        for log in (one, many):
            log.flush()
        assert (many.size, many.root()) == (one.size, one.root())
        assert many.root() == root_of([leaf_hash(entry(number)) for number in range(one.size)])
        many = TileLog(tmp_path / "many", many.size)  # what is stored is all it needs

    def files(folder: Path) -> dict[str, bytes]:
        return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}

    assert files(tmp_path / "many") == files(tmp_path / "one")


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_is_the_definitions(folder: Path, size: int) -> None:
    hashes = [leaf_hash(entry(number)) for number in range(size)]
    tiles = Tiles(folder, SIZES[-1])
    for index in {0, size // 3, size // 2, size - 1}:
        path = inclusion_path(tiles, index, size)
        assert path == path_by_definition(index, hashes)
        verify_inclusion(hashes[index], index, size, path, root_of(hashes))
    with pytest.raises(ValueError, match="index: got"):
        inclusion_path(tiles, size, size)


@pytest.mark.parametrize("size", SIZES)
def test_consistency_holds_for_every_older_tree(folder: Path, size: int) -> None:
    hashes = [leaf_hash(entry(number)) for number in range(size)]
    tiles = Tiles(folder, SIZES[-1])
    for old in {1, size // 3, size // 2, size - 1, size} - {0}:
        verify_consistency(old, root_of(hashes[:old]), size, root_of(hashes), consistency_path(tiles, old, size))
    with pytest.raises(ValueError, match="old size: got"):
        consistency_path(tiles, size + 1, size)


def test_a_record_is_found_without_its_place(folder: Path) -> None:
    tiles = Tiles(folder, 1000)
    assert [tiles.find(entry(number), near) for number, near in ((0, 900), (999, 0), (512, 512))] == [0, 999, 512]
    assert tiles.find(entry(1000)) is None  # it is in the file, but not in this tree
    assert tiles.find(b"\0\x20" + entry(3)[:30]) is None  # the bytes are there, across two entries


def test_a_missing_or_short_tile_is_named(tmp_path: Path) -> None:
    grown(tmp_path, (300,))
    short = tmp_path / "tile/0/001.p/44"
    short.write_bytes(short.read_bytes()[:-1])
    with pytest.raises(LogDamaged, match=r"tile/0/001: got 1407 bytes, expected 1408"):
        inclusion_path(Tiles(tmp_path, 300), 299, 300)
    grown(tmp_path / "other", (300,))
    (tmp_path / "other/tile/0/000").unlink()
    with pytest.raises(LogDamaged, match="0/000: missing"):
        inclusion_path(Tiles(tmp_path / "other", 300), 1, 300)


def places(path: Path, lines: Sequence[tuple[int, str, int, int, int]]) -> None:
    (path / "places").write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))


def test_a_place_is_found_by_halves_and_never_trusted(folder: Path) -> None:
    lines = [(10 * number, f"worker-{number % 3}", 1 + number // 60, 1 + number % 60 // 3 * 10, 10)
             for number in range(100)]  # fmt: skip
    places(folder, lines)
    for index, writer, epoch, seq, _ in lines:
        where = writer, (epoch, seq + 7), entry(index + 7)
        assert index_of(Tiles(folder, 1025), *where, thorough=False) == index + 7
    lying = Tiles(folder, 1025)
    assert index_of(lying, "worker-0", (1, 1), entry(777)) == 777
    assert index_of(lying, "worker-9", (1, 1), entry(5)) == 5
    assert index_of(lying, "worker-0", (1, 1), entry(9999)) is None


def test_lines_that_a_crash_left_behind_are_passed_over(folder: Path) -> None:
    stale = [(0, "control", 1, 1, 4), (4, "worker-0", 1, 1, 6), (0, "worker-0", 1, 1, 8), (8, "control", 1, 1, 5)]
    places(folder, stale)
    tiles = Tiles(folder, 1025)
    found = {index_of(tiles, writer, (1, seq), entry(index))
             for index, writer, seq in ((0, "worker-0", 1), (7, "worker-0", 8), (8, "control", 1))}  # fmt: skip
    assert found == {0, 7, 8}
    (folder / "places").write_bytes(b"torn 1 line\n\xff\n3 worker-0 1 4")
    assert index_of(tiles, "worker-0", (1, 4), entry(3)) == 3
    (folder / "places").write_bytes(b"")
    assert index_of(tiles, "worker-0", (1, 4), entry(3)) == 3


@pytest.mark.promise("P5.proof-of-one-record-is-quick")
def test_a_proof_among_millions_reads_a_few_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of 3,000,000 leaves; of its tiles those exist that are asked for, `places` is as a busy hour leaves it."""
    size, index = 3_000_000, 4000 * 256 + 7
    row = [entry(number) for number in range(256)]
    places(tmp_path, [(at, f"worker-{at // 10 % 4}", 1, at // 40 * 10 + 1, 10) for at in range(0, size, 10)])
    real = tiles_module.read_tile
    read: list[str] = []

    def asked(folder: Path, number: int, width: int) -> bytes:
        stride = 34 if folder.name == "entries" else 32
        path = folder / (tile_name(number) if width == 256 else f"{tile_name(number)}.p/{width}")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(b"\0\x20"[: stride - 32] + each for each in row[:width]))
        read.append(str(path))
        return real(folder, number, width)

    monkeypatch.setattr(tiles_module, "read_tile", asked)
    spent = []
    for _ in range(5):
        begun = time.process_time()
        tiles = Tiles(tmp_path, size)
        place = index // 40 * 10 + 1 + index % 10
        found = index_of(tiles, f"worker-{index // 10 % 4}", (1, place), row[7], thorough=False)
        assert found == index
        inclusion_path(tiles, index, size)
        consistency_path(tiles, size // 3, size)
        spent.append(time.process_time() - begun)

    assert min(spent) < 0.5
    assert len(read) / 5 <= 12
