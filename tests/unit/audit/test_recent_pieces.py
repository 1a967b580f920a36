"""What one reader has proved, others take from memory: the same records, from any place, and never unproved bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit import stored as stored_module
from audit.auditor import Auditor
from audit.checkpoint import generate
from audit.reader import IntegrityError, JournalReader, Record
from audit.segment import Link, Segment
from audit.stored import Recent
from tests.support.busy_journal import BusyWorker

NOW = 1_790_000_000.0


def everything(reader: JournalReader, limit: int = 1 << 20) -> list[Record]:
    found: list[Record] = []
    while records := reader.read(limit):
        found += records
    return found


def kept(journals: Path, recent: Recent, limit: int) -> None:
    reader = JournalReader(journals, "worker-0")
    while (piece := reader.piece(limit)) is not None:
        recent.keep("worker-0", piece)


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    writer = BusyWorker(tmp_path / "journal", "worker-0", segment_bytes=60_000)
    for _ in range(6):
        writer.write(40, NOW)
    return tmp_path / "journal"


@pytest.mark.parametrize("limit", [2000, 20_000, 1 << 20])
@pytest.mark.parametrize("at", [0, 1, 7, 100, 239, 240])
def test_from_any_place_the_records_are_those_of_the_file(journals: Path, limit: int, at: int) -> None:
    plain = everything(JournalReader(journals, "worker-0"))
    after = Link(plain[at - 1].epoch, plain[at - 1].seq, plain[at - 1].entry) if at else None
    recent = Recent()
    kept(journals, recent, limit)

    reader = JournalReader(journals, "worker-0", after, recent=recent)
    found = everything(reader)

    assert [tuple(each) for each in found] == [tuple(each) for each in plain[at:]]
    assert reader.link == Link(plain[-1].epoch, plain[-1].seq, plain[-1].entry)


def test_what_is_remembered_is_not_read_again(journals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = everything(JournalReader(journals, "worker-0"))
    recent = Recent()
    kept(journals, recent, 1 << 20)
    read: list[str] = []
    real = stored_module.piece

    def piece(segment: Segment, offset: int, limit: int) -> bytes:
        read.append(segment.path.name)
        return real(segment, offset, limit)

    monkeypatch.setattr(stored_module, "piece", piece)

    assert everything(JournalReader(journals, "worker-0", recent=recent)) == plain
    # Only to see that a segment's end is its end, and not even that of the last one.
    assert len(read) == len({each.segment for each in plain}) - 1


def test_what_was_changed_on_disk_meanwhile_is_not_what_is_handed_out(journals: Path) -> None:
    plain = everything(JournalReader(journals, "worker-0"))
    recent = Recent()
    kept(journals, recent, 1 << 20)
    path = min((journals / "worker-0").glob("*.jsonl"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"device_stale", b"device_fresh"))

    with pytest.raises(IntegrityError):
        everything(JournalReader(journals, "worker-0"))
    assert everything(JournalReader(journals, "worker-0", recent=recent)) == plain


def test_another_journal_is_not_continued_with_what_is_remembered(journals: Path, tmp_path: Path) -> None:
    recent = Recent()
    kept(journals, recent, 1 << 20)
    other = BusyWorker(tmp_path / "other", "worker-0", segment_bytes=60_000)
    other.write(30, NOW)
    first = everything(JournalReader(tmp_path / "other", "worker-0"))[9]
    after = Link(first.epoch, first.seq, first.entry)

    assert recent.behind("worker-0", (1, 1), after, 1000, 1 << 20) is None
    found = everything(JournalReader(tmp_path / "other", "worker-0", after, recent=recent))
    assert [each.seq for each in found] == list(range(11, 31))


def test_older_pieces_make_room(journals: Path) -> None:
    plain = everything(JournalReader(journals, "worker-0"))
    size = sum(len(each.line) for each in plain)
    recent = Recent(size // 2)
    kept(journals, recent, 5000)

    held = [piece for pieces in recent._pieces.values() for piece in pieces]
    assert 0 < sum(len(piece.data) for piece in held) <= size // 2
    assert held[-1].before.seq + held[-1].count == plain[-1].seq
    assert everything(JournalReader(journals, "worker-0", recent=recent)) == plain
    small = Recent()
    kept(journals, small, 1)
    assert len(small._pieces["worker-0"]) <= 64


@pytest.mark.parametrize("limit", [1, 3000, 20_000])
@pytest.mark.parametrize("remembered", [True, False])
def test_bug_who_reads_many_writers_gets_no_more_of_one_than_asked_for(
    journals: Path, limit: int, remembered: bool
) -> None:
    """Each writer's share of one budget was a whole piece of memory, or a mebibyte beside a rest without a line."""
    plain = everything(JournalReader(journals, "worker-0"))
    recent = Recent()
    kept(journals, recent, 1 << 20)
    reader = JournalReader(journals, "worker-0", recent=recent if remembered else None)
    found: list[Record] = []
    while records := reader.read(limit):
        assert len(records) == 1 or sum(len(each.line) for each in records) <= limit
        found += records

    assert found == plain


def test_the_auditor_remembers_what_it_took_in(journals: Path, tmp_path: Path) -> None:
    auditor = Auditor(journals, tmp_path / "log", generate("log.example"))
    while auditor.poll():
        pass
    auditor.commit()
    auditor.close()
    plain = everything(JournalReader(journals, "worker-0"))
    for path in (journals / "worker-0").iterdir():
        path.chmod(0o600)
        path.write_bytes(b"")  # only names are left

    assert everything(JournalReader(journals, "worker-0", recent=auditor.recent)) == plain
    assert auditor.size == len(plain)


def test_who_has_taken_all_waits_for_the_next_piece(journals: Path) -> None:
    plain = everything(JournalReader(journals, "worker-0"))
    recent, leader = Recent(), JournalReader(journals, "worker-0")
    follower = JournalReader(journals, "worker-0", recent=recent)
    seen: list[Record] = []
    while (piece := leader.piece(7000)) is not None:
        recent.keep("worker-0", piece)
        more = everything(follower)
        assert more[-1].seq == piece.end.seq
        seen += more
    assert seen == plain


def test_who_follows_reads_on_alone_where_nobody_goes_before(journals: Path) -> None:
    plain = everything(JournalReader(journals, "worker-0"))
    recent, leader = Recent(), JournalReader(journals, "worker-0")
    follower = JournalReader(journals, "worker-0", recent=recent)
    first = leader.piece(2000)
    assert first is not None
    recent.keep("worker-0", first)
    seen = everything(follower)
    assert seen == plain[: first.count]

    recent.leave("worker-0")
    assert seen + everything(follower) == plain
    assert recent.unread({}) == 0


def test_a_journal_that_is_refused_is_refused_to_those_who_follow(journals: Path, tmp_path: Path) -> None:
    auditor = Auditor(journals, tmp_path / "log", generate("log.example"))
    follower = JournalReader(journals, "worker-0", recent=auditor.recent)
    assert auditor.poll()
    seen = everything(follower)
    auditor.poll()
    sealed = max((journals / "worker-0").glob("*.jsonl"))
    sealed.chmod(0o600)
    sealed.write_bytes(sealed.read_bytes().replace(b'"seq":', b'"seq":9', 1))
    while auditor.poll():
        pass
    auditor.close()

    assert list(auditor.refused) == ["worker-0"]
    assert seen[-1].seq < 240
    with pytest.raises(IntegrityError):
        everything(follower)


def test_what_is_unread_is_counted_from_where_one_stands(journals: Path) -> None:
    plain = everything(JournalReader(journals, "worker-0"))
    recent = Recent()
    kept(journals, recent, 1 << 20)

    def unread(at: int) -> int:
        return recent.unread({"worker-0": Link(plain[at - 1].epoch, plain[at - 1].seq, plain[at - 1].entry)})

    size = sum(len(each.line) for each in plain)
    last = sum(len(each.line) for each in plain if each.segment == plain[-1].segment)
    assert recent.unread({}) == unread(1) == size
    assert unread(239) == last < size
    assert unread(240) == 0
    assert recent.unread({"worker-0": Link(9, 5, bytes(32))}) == 0
