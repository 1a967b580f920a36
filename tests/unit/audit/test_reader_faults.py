"""The reader on damaged, moving and bounded journals: where the first bad record stands, what is passed over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from audit import reader as reader_module
from audit.reader import IntegrityError, JournalReader
from audit.segment import GENESIS, Link, encode, head, name_of

W = "worker-0"
BOUNDED = "worker-0.anonymous"


class Files:
    """A writer's folder made by hand: records 1-2 and 3-4 of epoch 1, then 1-2 of epoch 2, which is still written."""

    def __init__(self, root: Path, writer: str = W) -> None:
        self.root, self.writer, self.folder = root, writer, root / writer
        self.folder.mkdir(parents=True)
        self.links: list[Link] = []
        self.lines: list[bytes] = []
        prev = GENESIS
        for epoch, seq in ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2)):
            line, entry = encode(head(writer, epoch), seq, prev.hex().encode(), bytes(16), b'{"at":%d}' % seq)
            prev = bytes.fromhex(entry.decode())
            self.lines.append(line)
            self.links.append(Link(epoch, seq, prev))
        self.put(1, 1, "jsonl", self.lines[0:2])
        self.put(1, 3, "jsonl", self.lines[2:4])
        self.put(2, 1, "active", self.lines[4:6])

    def put(self, epoch: int, first: int, suffix: str, lines: list[bytes]) -> Path:
        path = self.folder / name_of(epoch, first, suffix)
        path.write_bytes(b"".join(lines))
        return path

    def path(self, epoch: int, first: int, suffix: str = "jsonl") -> Path:
        return self.folder / name_of(epoch, first, suffix)

    def reader(self, after: Link | None = None) -> JournalReader:
        return JournalReader(self.root, self.writer, after)


def read(reader: JournalReader, limit: int = 1 << 20) -> list[tuple[int, int, str, int]]:
    """(epoch, seq, segment, line) of everything that is there."""
    found: list[tuple[int, int, str, int]] = []
    while records := reader.read(limit):
        found += [(record.epoch, record.seq, record.segment, record.number) for record in records]
    return found


PLACES = [
    (1, 1, "000001-000000000001.jsonl", 1), (1, 2, "000001-000000000001.jsonl", 2),
    (1, 3, "000001-000000000003.jsonl", 1), (1, 4, "000001-000000000003.jsonl", 2),
    (2, 1, "000002-000000000001.active", 1), (2, 2, "000002-000000000001.active", 2),
]  # fmt: skip


@pytest.mark.parametrize("limit", [1, 1 << 20])
def test_every_record_has_its_place(tmp_path: Path, limit: int) -> None:
    files = Files(tmp_path)
    reader = files.reader()
    assert reader.link == Link(0, 0, GENESIS)
    assert read(reader, limit) == PLACES
    assert (reader.link, reader.gone) == (files.links[5], None)
    records = files.reader().read()
    assert [record.line for record in records] == files.lines[:2]
    assert [record.entry for record in records] == [link.entry for link in files.links[:2]]
    assert files.reader(files.links[5]).read() == []
    assert JournalReader(tmp_path, "nobody").read() == []


@pytest.mark.parametrize("at", range(5))
def test_reading_goes_on_after_a_known_record(tmp_path: Path, at: int) -> None:
    files = Files(tmp_path)
    reader = files.reader(files.links[at])
    assert reader.link == files.links[at]
    assert read(reader) == PLACES[at + 1 :]


def test_a_record_longer_than_a_read_is_read_whole(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert len(files.reader().read(10)) >= 1
    assert len(files.reader().read(len(files.lines[0]))) == 1
    assert len(files.reader().read(len(files.lines[0]) + 5)) == 1


Damage = Callable[[Files], object]


def flip(number: int, old: bytes, new: bytes) -> Damage:
    def damage(files: Files) -> None:
        for path in files.folder.iterdir():
            data = path.read_bytes()
            if files.lines[number] in data:
                changed = files.lines[number].replace(old, new)
                assert changed != files.lines[number]
                path.write_bytes(data.replace(files.lines[number], changed))

    return damage


CASES: list[tuple[str, Damage, int | None, tuple[str, int, int, str, str, str]]] = [
    ("changed", flip(1, b'"seq":2', b'"seq":9'), None, ("000001-000000000001.jsonl", 2, 2, "seq", "9", "2")),
    ("changed in a later segment", flip(3, b'"seq":4', b'"seq":5'), None,
     ("000001-000000000003.jsonl", 2, 4, "seq", "5", "4")),
    ("first segment gone", lambda files: files.path(1, 1).unlink(), None,
     ("000001-000000000003.jsonl", 1, 3, "segment", "epoch 1, record 3", "epoch 1, record 1")),
    ("middle segment gone", lambda files: files.path(1, 3).unlink(), None,
     ("000002-000000000001.active", 1, 1, "prev", "", "")),
    ("an epoch left out", lambda files: files.path(2, 1, "active").rename(files.path(3, 1, "active")), None,
     ("000003-000000000001.active", 1, 1, "segment", "epoch 3, record 1", "epoch 1, record 5")),
    ("misnamed", lambda files: files.path(1, 3).rename(files.path(1, 4)), None,
     ("000001-000000000004.jsonl", 1, 4, "segment", "epoch 1, record 4", "epoch 1, record 3")),
    ("begins in the middle of an epoch", lambda files: files.path(2, 1, "active").rename(files.path(2, 2, "active")),
     None, ("000002-000000000002.active", 1, 2, "segment", "epoch 2, record 2", "epoch 1, record 5")),
    ("sealed with half a line", lambda files: files.put(1, 3, "jsonl", [files.lines[2], files.lines[3][:-1]]), None,
     ("000001-000000000003.jsonl", 2, 4, "format", "", "a line that ends")),
    ("the known record changed", flip(2, b'"at":3', b'"at":4'), 2,
     ("000001-000000000003.jsonl", 1, 3, "entry", "", "")),
    ("the known record broken", flip(2, b'{"salt"', b'["salt"'), 2,
     ("000001-000000000003.jsonl", 1, 3, "format", "", "one record of version 1")),
    ("the known record gone", lambda files: files.put(1, 3, "jsonl", files.lines[2:3]), 3,
     ("000001-000000000003.jsonl", 2, 4, "record", "none", "")),
    ("the known epoch gone", lambda files: [files.path(1, 1).unlink(), files.path(1, 3).unlink()], 1,
     ("", 0, 2, "segment", "none", "record 2 of epoch 1")),
    ("the known segment gone", lambda files: files.path(1, 1).unlink(), 1,
     ("", 0, 2, "segment", "none", "record 2 of epoch 1")),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "after", "place"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_damage_is_found_at_its_place(
    tmp_path: Path, damage: Damage, after: int | None, place: tuple[str, int, int, str, str, str]
) -> None:
    files = Files(tmp_path)
    damage(files)
    with pytest.raises(IntegrityError) as caught:
        read(files.reader(None if after is None else files.links[after]))
    fault = caught.value
    segment, line, seq, what, got, expected = place
    assert (fault.writer, fault.segment, fault.line, fault.seq, fault.what) == (W, segment, line, seq, what)
    assert fault.got == (got or fault.got)
    assert fault.expected == (expected or fault.expected)
    if what == "entry":
        assert (after is not None, fault.expected) == (True, files.links[2].entry.hex())
    if what == "record":
        assert fault.expected == files.links[3].entry.hex()
    if expected == "a line that ends":
        assert fault.got == repr(files.lines[3][:-1][-40:])
    assert str(fault) == (
        f"{W}/{segment}:{line}: record {seq}: {what}: got {fault.got}, expected {fault.expected}"
    )  # fmt: skip


def test_a_line_without_its_end_is_not_there_yet(tmp_path: Path) -> None:
    files = Files(tmp_path)
    active = files.put(2, 1, "active", [files.lines[4], files.lines[5][:-1]])
    reader = files.reader()
    assert read(reader) == PLACES[:5]
    with active.open("ab") as file:
        file.write(b"\n")
    assert read(reader) == PLACES[5:]


def test_a_segment_is_sealed_while_it_is_read(tmp_path: Path) -> None:
    files = Files(tmp_path)
    active = files.put(2, 1, "active", files.lines[4:5])
    reader = files.reader()
    assert read(reader) == PLACES[:5]
    active.unlink()
    sealed = files.put(2, 1, "jsonl", files.lines[4:6])
    assert read(reader) == [(2, 2, sealed.name, 2)]
    line, entry = encode(head(W, 2), 3, files.links[5].entry.hex().encode(), bytes(16), b'{"at":3}')
    following = files.put(2, 3, "active", [line])
    assert read(reader) == [(2, 3, following.name, 1)]
    assert reader.link.entry.hex() == entry.decode()


@pytest.mark.parametrize("grown", [False, True])
def test_a_segment_sealed_under_the_reader_is_read_to_its_end_before_the_next(tmp_path: Path, grown: bool) -> None:
    files = Files(tmp_path)
    files.path(1, 3).unlink()
    files.path(2, 1, "active").unlink()
    active = files.put(1, 3, "active", files.lines[2:3])
    reader = files.reader()
    assert read(reader) == [*PLACES[:2], (1, 3, active.name, 1)]
    # the reader has the old name; the file grows, is sealed, and the next epoch begins, all before it looks again
    if grown:
        active.unlink()
    files.put(1, 3, "jsonl", files.lines[2:4])
    files.put(2, 1, "active", files.lines[4:6])
    assert read(reader) == PLACES[3:]


def test_a_segment_that_vanishes_under_the_reader_is_a_fault(tmp_path: Path) -> None:
    files = Files(tmp_path)
    reader = files.reader()
    assert len(reader.read()) == 2
    files.path(1, 3).unlink()
    files.path(1, 1).unlink()
    with pytest.raises(IntegrityError) as caught:
        reader.read()
    fault = caught.value
    assert (fault.segment, fault.line, fault.seq) == ("000001-000000000001.jsonl", 3, 3)
    assert (fault.what, fault.got, fault.expected) == ("segment", "none", "a file")


def test_a_bounded_writers_deleted_records_are_passed_over(tmp_path: Path) -> None:
    files = Files(tmp_path, BOUNDED)
    reader = files.reader()
    assert len(reader.read()) == 2
    files.path(1, 1).unlink()
    files.path(1, 3).unlink()
    assert read(reader) == PLACES[4:]
    gone = Link(2, 0, files.links[3].entry)  # as the first record that is left cites it
    assert reader.gone == gone
    fresh = files.reader()
    assert (read(fresh), fresh.gone) == (PLACES[4:], gone)
    known = files.reader(files.links[1])
    assert (read(known), known.gone) == (PLACES[4:], gone)
    still = files.reader(files.links[4])
    assert (read(still), still.gone) == (PLACES[5:], None)
    flip(4, b'{"salt"', b'["salt"')(files)
    with pytest.raises(IntegrityError, match=r"000002-000000000001.active:1: record 1: format") as caught:
        files.reader().read()
    assert caught.value.expected == "one record of version 1"


def test_a_bounded_writers_deletions_are_passed_over_also_by_who_began_in_the_middle(tmp_path: Path) -> None:
    files = Files(tmp_path, BOUNDED)
    reader = files.reader(files.links[0])
    assert len(reader.read()) == 1
    files.path(1, 1).unlink()
    files.path(1, 3).unlink()
    assert read(reader) == PLACES[4:]


def test_the_next_segment_waits_until_the_one_before_is_sealed(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.path(1, 3).rename(files.path(1, 3, "active"))
    reader = files.reader()
    assert [place[:2] for place in read(reader)] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    files.path(1, 3, "active").rename(files.path(1, 3))
    assert read(reader) == PLACES[4:]


def test_a_segment_sealed_between_looking_and_reading_is_found_under_its_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path)
    found = reader_module.segments(files.folder)
    monkeypatch.setattr(reader_module, "segments", lambda _folder: found)
    files.path(2, 1, "active").rename(files.path(2, 1))
    assert [place[:2] for place in read(files.reader(files.links[4]))] == [(2, 2)]


def test_a_bounded_writers_hole_between_two_segments_is_passed_over_only_at_the_start(tmp_path: Path) -> None:
    files = Files(tmp_path, BOUNDED)
    reader = files.reader()
    assert len(reader.read()) == 2
    files.path(1, 3).rename(files.path(1, 4))
    with pytest.raises(IntegrityError, match="segment: got epoch 1, record 4, expected epoch 1, record 3"):
        read(reader)


def test_what_was_read_is_synced_where_it_lies_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path)
    synced: list[str] = []
    real = os.fdatasync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", note)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    reader = files.reader()
    reader.sync()
    reader.read()
    reader.sync()
    assert synced == []  # a sealed segment was synced by its writer
    read(reader)
    reader.sync()
    files.path(2, 1, "active").rename(files.path(2, 1))
    reader.sync()
    assert synced == ["000002-000000000001.active", "000002-000000000001.jsonl"]
    files.path(2, 1).unlink()
    reader.sync()
    assert len(synced) == 2
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
