"""Verification of a part: by sizes, by time, since a checkpoint that was verified before; in one process and in two."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from audit import verify
from audit.checkpoint import Checkpoint, CheckpointInvalid, generate
from audit.event import timestamp
from audit.log import TileLog, entries
from audit.merkle import leaf_hash, root_of
from audit.segment import Chain, claimed, segments
from audit.verify import IntegrityError, Span, Verified, verify_journals
from audit.verifying import hashing, pieces
from tests.support.trails import Trail, decision

BASE = 1_700_000_000.0


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """Three writers whose records lie at the times 0 to 899, signed after each hundred, and a tail of four records."""
    root = tmp_path_factory.mktemp("spans")
    trail = Trail(root / "journal", root / "log", generate("log.example"))
    for start in range(0, 900, 100):
        for number in range(2):
            trail.write(
                f"worker-{number}",
                [decision(start + 2 * at + number) for at in range(50)],
                9000,
                partial(float, BASE + start),
            )
        if start == 0:
            trail.write("quiet", [decision(1), decision(2)], clock=lambda: BASE)
        trail.sign()
    trail.write("worker-1", [decision(900 + at) for at in range(3)])
    return trail


@pytest.fixture
def trail(template: Trail, tmp_path: Path) -> Trail:
    """A copy to tamper with."""
    shutil.copytree(template.journals, tmp_path / "journal")
    shutil.copytree(template.log, tmp_path / "log")
    return replace(template, journals=tmp_path / "journal", log=tmp_path / "log")


def prove(trail: Trail, span: Span | None = None, jobs: int = 1) -> Verified:
    return verify_journals(trail.journals, trail.log, trail.signer.verifier, span=span, jobs=jobs)


def head_at(trail: Trail, size: int) -> Checkpoint:
    return Checkpoint("log.example", size, root_of([leaf_hash(entry) for entry in entries(trail.log, size)]))


def edit(trail: Trail, needle: bytes) -> tuple[str, int]:
    """Change the record of this request; returns its file and line."""
    for path in sorted((trail.journals / "worker-0").iterdir()):
        lines = path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines):
            if needle in line:
                path.chmod(0o600)
                lines[number] = line.replace(b"sato", b"kato")
                path.write_bytes(b"".join(lines))
                return path.name, number + 1
    raise AssertionError(f"no record has {needle!r}")


def size_of(trail: Trail) -> int:
    return trail.signer.verifier.open((trail.log / "checkpoint").read_text()).size


def entry_of(line: bytes) -> bytes:
    return Chain("worker-0", claimed("worker-0", line)).accept(line)


def test_every_span_proves_and_tells_the_same_tail(trail: Trail) -> None:
    size = size_of(trail)
    whole = prove(trail)
    assert (whole.first, whole.last, whole.records) == (0, size, size + 4)
    assert whole.tail_records == 4
    spans = [Span(after, upto) for after in (0, 1, 255, 256, 300, 512, size) for upto in (None, 512, 513, size)
             if after <= (size if upto is None else upto)]  # fmt: skip
    for span in spans:
        proved = prove(trail, span)
        assert (proved.first, proved.last) == (span.after, span.upto or size)
        assert (proved.tail_records, proved.tail_oldest) == (4, whole.tail_oldest)
        assert proved.records <= whole.records


def test_what_is_outside_a_span_is_not_read(trail: Trail) -> None:
    late, early = prove(trail, Span(after=700)), prove(trail, Span(upto=200))
    assert late.records < 400
    assert early.records < 450
    edit(trail, b'"R%015d"' % 20)
    prove(trail, Span(after=700))
    with pytest.raises(IntegrityError):
        prove(trail, Span(upto=200))
    with pytest.raises(IntegrityError):
        prove(trail)


@pytest.mark.promise("P5.span-proved")
def test_a_changed_record_is_named_by_every_span_that_covers_it(trail: Trail) -> None:
    name, line = edit(trail, b'"R%015d"' % 600)
    for span in (None, Span(after=400), Span(after=100, upto=800), Span(since=BASE + 590, until=BASE + 610)):
        with pytest.raises(IntegrityError) as caught:
            prove(trail, span)
        assert (caught.value.writer, caught.value.segment, caught.value.line) == ("worker-0", name, line)
    prove(trail, Span(upto=400))
    prove(trail, Span(since=BASE + 800))
    prove(trail, Span(until=BASE + 200))


def test_a_time_finds_all_its_records(trail: Trail) -> None:
    size = size_of(trail)
    proved = prove(trail, Span(since=BASE + 300, until=BASE + 400))
    assert proved.last - proved.first >= 100
    assert 250 < proved.first < 350
    assert prove(trail, Span(since=BASE + 5000)).first == size
    assert prove(trail, Span(until=BASE - 5000)).last == 0
    assert prove(trail, Span(since=BASE - 5000)).first == 0
    assert timestamp(BASE).startswith("2023-11-14")


@pytest.mark.promise("P5.since-last-proved")
def test_since_a_verified_checkpoint_only_what_came_after_is_read_and_the_tree_must_contain_it(trail: Trail) -> None:
    old = head_at(trail, 500)
    proved = prove(trail, Span(after=old))
    assert (proved.first, proved.last) == (500, size_of(trail))
    assert proved.records < 650
    with pytest.raises(IntegrityError, match="root at size 500"):
        prove(trail, Span(after=replace(old, root=bytes(32))))
    with pytest.raises(IntegrityError, match="rolled back"):
        prove(trail, Span(after=replace(old, size=5000)))


def test_a_forged_bundle_before_the_span_hides_nothing_in_it(trail: Trail) -> None:
    later = segments(trail.journals / "worker-0")[-3].path.read_bytes()
    first = entry_of(later[: later.index(b"\n") + 1])
    assert list(entries(trail.log, size_of(trail))).index(first) > 600
    bundle = trail.log / "tile/entries/001"
    data = bytearray(bundle.read_bytes())
    data[-32:] = first  # so that the worker's journal seems to stand further than it did
    bundle.write_bytes(data)
    with pytest.raises(IntegrityError):
        prove(trail, Span(after=512))


def test_a_span_beyond_the_checkpoint_is_refused(trail: Trail) -> None:
    for span in (Span(after=99_999), Span(upto=99_999), Span(after=5, upto=4), Span(after=-1)):
        with pytest.raises(ValueError, match="span: got"):
            prove(trail, span)


@pytest.mark.parametrize("way", [hashing.PLAIN, hashing.fastest(hashing.WORTH)])
def test_several_processes_find_what_one_finds(
    trail: Trail, monkeypatch: pytest.MonkeyPatch, way: hashing.Hashing
) -> None:
    alone = prove(trail)
    monkeypatch.setattr(verify, "fastest", lambda _records: way._replace(worth=1))
    seen: list[int] = []
    together = verify_journals(trail.journals, trail.log, trail.signer.verifier, jobs=2, progress=seen.append)
    assert together == alone
    assert seen == sorted(seen)
    assert seen[-1] == alone.records
    name, line = edit(trail, b'"R%015d"' % 600)
    with pytest.raises(IntegrityError) as caught:
        prove(trail, jobs=2)
    assert (caught.value.segment, caught.value.line, caught.value.what) == (name, line, "entry")


def test_a_checkpoint_that_no_witness_cosigned_is_refused(trail: Trail) -> None:
    seen: list[str] = []
    verify_journals(trail.journals, trail.log, trail.signer.verifier, witness=seen.append)
    assert seen == [(trail.log / "checkpoint").read_text()]

    def refuse(_note: str) -> None:
        raise CheckpointInvalid("no cosignature")

    with pytest.raises(CheckpointInvalid, match="no cosignature"):
        verify_journals(trail.journals, trail.log, trail.signer.verifier, witness=refuse)


def test_partial_tiles_that_a_crash_left_may_not_say_otherwise(trail: Trail, tmp_path: Path) -> None:
    everything = list(entries(trail.log, size_of(trail)))
    log = TileLog(tmp_path / "young")
    for entry in everything[:100]:
        log.append(entry)
    log.flush()
    for kind in ("0", "entries"):
        shutil.copytree(tmp_path / "young/tile" / kind / "000.p", trail.log / "tile" / kind / "000.p")
    prove(trail)
    path = trail.log / "tile/entries/000.p/100"
    data = bytearray(path.read_bytes())
    data[34 * 7 + 9] ^= 4
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"log/tile/entries/000\.p/100:8: record 7: tile"):
        prove(trail)


def test_a_new_writer_and_one_without_a_record_in_the_span_are_followed(trail: Trail) -> None:
    before = size_of(trail)
    trail.write("worker-9", [decision(950)])
    trail.sign()
    proved = prove(trail, Span(after=before))
    assert (proved.writers["worker-9"].records, proved.tail_records) == (2, 0)
    assert verify.follow_tree(trail.journals, entries(trail.log, size_of(trail)))["quiet"].seq == 3
    path = segments(trail.journals / "quiet")[-1].path
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"sato", b"kato", 1))
    with pytest.raises(IntegrityError):
        prove(trail, Span(after=before))


def ended(number: int) -> int:
    """A piece of work whose process is killed."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_process_is_told_and_never_taken_for_a_proof() -> None:
    with pieces.Pieces(2) as several, pytest.raises(OSError, match="ended from outside"):
        list(several.ahead(ended, range(5), 2))
    with pieces.Pieces(1) as alone:
        assert list(alone.ahead(ended, [0, 1, 3], 2)) == [0, 1, 3]
