"""Tampering: each change to the files is found, and the first bad record named; an untouched trail verifies."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from audit.auditor import Auditor, LogForked, LogLocked
from audit.checkpoint import Checkpoint, CheckpointInvalid, generate
from audit.log import TileLog, entries, root_at, tile_name
from audit.merkle import leaf_hash, root_of
from audit.segment import segments
from audit.verify import IntegrityError, Verified, verify_journals
from tests.support.trails import Trail, decision

Change = Callable[[list[bytes]], None]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """Two writers, two epochs, several segments, all covered by a checkpoint."""
    root = tmp_path_factory.mktemp("template")
    trail = Trail(root / "journal", root / "log", generate("log.example"))
    trail.write("worker-0", [decision(at) for at in range(30)])
    trail.write("worker-1", [decision(100 + at) for at in range(30)])
    trail.sign()
    trail.write("worker-0", [decision(30 + at) for at in range(5)])
    assert trail.sign() == 68
    return trail


@pytest.fixture
def signed(template: Trail, tmp_path: Path) -> Trail:
    """A copy to tamper with."""
    shutil.copytree(template.journals, tmp_path / "journal")
    shutil.copytree(template.log, tmp_path / "log")
    return replace(template, journals=tmp_path / "journal", log=tmp_path / "log")


def lines_of(trail: Trail, writer: str = "worker-0", segment: int = 1) -> tuple[Path, list[bytes]]:
    path = segments(trail.journals / writer)[segment].path
    path.chmod(0o600)
    return path, path.read_bytes().splitlines(keepends=True)


def prove(trail: Trail, kept: Sequence[Checkpoint] = ()) -> Verified:
    return verify_journals(trail.journals, trail.log, trail.signer.verifier, kept)


def test_an_untouched_trail_verifies(signed: Trail) -> None:
    proved = prove(signed)
    assert proved.checkpoint is not None
    assert (proved.records, proved.tail_records, proved.checkpoint.size) == (68, 0, 68)
    assert proved.writers["worker-0"].epochs == 2
    signed.write("worker-1", [decision(200)])
    proved = prove(signed)
    assert (proved.records, proved.tail_records) == (70, 2)
    assert proved.tail_oldest is not None
    assert proved.tail_age(proved.tail_oldest + 7) == 7


def edit(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b'"user.name":"sato"', b'"user.name":"kato"')


def delete(lines: list[bytes]) -> None:
    del lines[1]


def insert(lines: list[bytes]) -> None:
    lines.insert(1, lines[0])


def reorder(lines: list[bytes]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def cut(lines: list[bytes]) -> None:
    del lines[-1]


def half(lines: list[bytes]) -> None:
    lines[-1] = lines[-1][: len(lines[-1]) // 2]


def salt_case(lines: list[bytes]) -> None:
    lines[1] = lines[1][:9] + lines[1][9:41].upper() + lines[1][41:]


@pytest.mark.parametrize(
    ("change", "what", "line"),
    [(edit, "entry", 2), (delete, "seq", 2), (insert, "seq", 2), (reorder, "seq", 2), (salt_case, "salt", 2)],
)
@pytest.mark.promise("P5.tampering-named")
def test_a_changed_segment_names_its_first_bad_record(signed: Trail, change: Change, what: str, line: int) -> None:
    path, lines = lines_of(signed)
    change(lines)
    path.write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError) as caught:
        prove(signed)
    error = caught.value
    assert (error.writer, error.segment, error.line, error.what) == ("worker-0", path.name, line, what)
    assert error.seq == int(path.stem.split("-")[1]) + line - 1


@pytest.mark.parametrize("change", [edit, delete, insert, reorder, cut, half])
@pytest.mark.parametrize("segment", [0, -1])
def test_no_change_of_the_first_or_last_segment_passes(signed: Trail, change: Change, segment: int) -> None:
    path, lines = lines_of(signed, segment=segment)
    change(lines)
    path.write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError):
        prove(signed)


@pytest.mark.promise("P5.truncation-named")
def test_the_last_record_is_named_by_the_tree(signed: Trail) -> None:
    path, lines = lines_of(signed, segment=-1)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b"sato", b"kato"))
    with pytest.raises(IntegrityError) as caught:
        prove(signed)
    assert (caught.value.writer, caught.value.segment, caught.value.seq) == ("worker-0", path.name, 6)
    path.unlink()
    with pytest.raises(IntegrityError) as caught:
        prove(signed)
    assert caught.value.writer == "worker-0"


def test_swapped_and_missing_files_are_found(signed: Trail) -> None:
    first, second = (item.path for item in segments(signed.journals / "worker-0")[1:3])
    one, other = first.read_bytes(), second.read_bytes()
    first.chmod(0o600)
    second.chmod(0o600)
    first.write_bytes(other)
    second.write_bytes(one)
    with pytest.raises(IntegrityError) as caught:
        prove(signed)
    assert (caught.value.segment, caught.value.line, caught.value.what) == (first.name, 1, "seq")
    first.write_bytes(one)
    second.unlink()
    with pytest.raises(IntegrityError, match="segment: got epoch"):
        prove(signed)
    shutil.rmtree(signed.journals / "worker-1")
    with pytest.raises(IntegrityError):
        prove(signed)


def test_the_log_cannot_be_changed_rolled_back_or_signed_by_another(signed: Trail) -> None:
    kept = signed.signer.verifier.open((signed.log / "checkpoint").read_text())
    bundle = signed.log / "tile/entries/000.p/68"
    data = bytearray(bundle.read_bytes())
    data[40] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"tile/entries/000\.p/68:2: record 1: tile"):
        prove(signed)
    data[40] ^= 1
    bundle.write_bytes(data)
    stranger = generate("log.example")
    (signed.log / "checkpoint").write_text(stranger.sign(kept))
    with pytest.raises(CheckpointInvalid):
        prove(signed)
    (signed.log / "checkpoint").write_text(signed.signer.sign(Checkpoint("log.example", 0, root_of([]))))
    with pytest.raises(IntegrityError, match="rolled back"):
        prove(signed, kept=[kept])
    (signed.log / "checkpoint").unlink()
    with pytest.raises(IntegrityError, match="checkpoint: got none"):
        prove(signed, kept=[kept])


def test_a_fork_is_found_by_a_checkpoint_kept_elsewhere(signed: Trail) -> None:
    elsewhere = Checkpoint("log.example", 40, bytes(32))
    with pytest.raises(IntegrityError, match="root at size 40"):
        prove(signed, kept=[elsewhere])


def test_no_flipped_bit_of_a_small_trail_passes(trail: Trail) -> None:
    trail.write("worker-0", [decision(at) for at in range(3)])
    trail.sign()
    path = segments(trail.journals / "worker-0")[0].path
    path.chmod(0o600)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(IntegrityError):
            prove(trail)


def test_the_auditor_signs_nothing_that_contradicts_what_it_signed(signed: Trail) -> None:
    auditor = Auditor(signed.journals, signed.log, signed.signer)
    with pytest.raises(LogLocked):
        Auditor(signed.journals, signed.log, signed.signer)
    signed.write("worker-1", [decision(300)])
    auditor.poll()
    (signed.log / "checkpoint").write_text(signed.signer.sign(Checkpoint("log.example", 68, bytes(32))))
    with pytest.raises(LogForked):
        auditor.commit()
    auditor.close()
    with pytest.raises(LogForked):
        Auditor(signed.journals, signed.log, signed.signer)


def test_the_auditor_finds_its_place_again_without_its_notes(signed: Trail) -> None:
    (signed.log / "auditor.json").unlink()
    signed.write("worker-1", [decision(300)])
    assert signed.sign() == 70
    assert prove(signed).tail_records == 0


def test_a_bad_record_stops_its_writer_and_no_other(signed: Trail) -> None:
    signed.write("worker-0", [decision(400 + at) for at in range(5)])
    signed.write("worker-1", [decision(500 + at) for at in range(5)])
    path, lines = lines_of(signed, segment=-1)
    delete(lines)
    path.write_bytes(b"".join(lines))
    auditor = Auditor(signed.journals, signed.log, signed.signer)
    while auditor.poll():
        continue
    auditor.commit()
    auditor.close()
    assert list(auditor.refused) == ["worker-0"]
    assert auditor.size == 68 + 6


def test_tiles_are_the_tree_at_every_width(tmp_path: Path) -> None:
    log = TileLog(tmp_path)
    hashes: list[bytes] = []
    leaves = [bytes([at & 255, at >> 8]) * 16 for at in range(700)]
    for at, entry in enumerate(leaves, 1):
        log.append(entry)
        hashes.append(leaf_hash(entry))
        if at in (1, 2, 255, 256, 257, 511, 512, 513, 700):
            log.flush()
            assert log.root() == root_at(tmp_path, at) == root_of(hashes)
            assert TileLog(tmp_path, at).root() == log.root()
    assert list(entries(tmp_path, 700)) == leaves
    assert root_at(tmp_path, 300) == root_of(hashes[:300])  # of a size whose partial tiles are gone
    assert (tmp_path / "tile/0/000").stat().st_size == 8192
    assert (tmp_path / "tile/1/000.p/2").stat().st_size == 64
    assert tile_name(1234067) == "x001/x234/067"
