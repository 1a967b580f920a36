"""What writing files durably does when a step fails or the process dies between two: each a fault that was found."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from audit import durable
from audit.dead_letters import LETTERS, letters
from audit.elastic.checkpoints import CheckpointQueue
from audit.segment import GENESIS, Link, encode, head, name_of
from audit.segment_writer import SegmentWriter, Settled, Torn

W = "worker-0"


def refusing(number: int) -> Callable[..., int]:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return refuse


def lines(count: int) -> tuple[bytes, Link]:
    """Return whole records of a first epoch and the last one's place."""
    data, prev = b"", GENESIS
    for seq in range(1, count + 1):
        line, entry = encode(head(W, 1), seq, prev.hex().encode(), bytes(16), b'{"n":%d}' % seq)
        data, prev = data + line, bytes.fromhex(entry.decode())
    return data, Link(1, count, prev)


@pytest.fixture
def files(tmp_path: Path) -> SegmentWriter:
    writer = SegmentWriter(tmp_path / W, W)
    writer.acquire()
    return writer


def test_what_a_failed_sync_left_never_replaces_what_was_written_anew(files: SegmentWriter) -> None:
    """Killed after the segment was written anew and before the old file went, whose pages the kernel had dropped."""
    data, last = lines(2)
    sealed, active = (files.folder / name_of(1, 1, suffix) for suffix in ("jsonl", "active"))
    sealed.write_bytes(data)
    active.write_bytes(data[:200] + bytes(100))
    assert files.settle() == Settled(last, None)
    assert sealed.read_bytes() == data
    assert sorted(path.name for path in files.folder.iterdir()) == [sealed.name, "lock"]


def test_a_segment_left_behind_is_not_synced_again_but_written_anew(files: SegmentWriter) -> None:
    """The process before this one may have seen the sync fail; after that another sync proves nothing."""
    data, last = lines(2)
    active = files.folder / name_of(1, 1, "active")
    active.write_bytes(data)
    before = active.stat().st_ino
    held = active.open("rb")  # its number is not given to another file meanwhile
    assert files.settle().last == last
    held.close()
    assert (files.folder / name_of(1, 1, "jsonl")).stat().st_ino != before


@pytest.mark.parametrize("failures", [1, 2])
def test_a_tail_set_aside_is_told_of_although_the_epoch_could_not_begin_at_once(
    files: SegmentWriter, failures: int
) -> None:
    data, last = lines(3)
    (files.folder / name_of(1, 1, "active")).write_bytes(data + b"torn")
    torn = Torn(name_of(1, 1, "torn"), 4)
    for _ in range(failures):
        assert files.settle() == Settled(last, torn)  # and then the process dies, or the disk takes no new epoch
    line, _ = encode(head(W, 2), 1, last.entry.hex().encode(), bytes(16), b'{"n":4}')
    files.begin(2, line, 0.0)  # this record tells of it
    assert files.settle().torn is None


def test_a_segment_that_was_being_sealed_is_read_by_whoever_owns_it(tmp_path: Path) -> None:
    """Killed between mode 0400 and the sealed name: the next process, not being root, could not open the file."""
    if os.geteuid():
        owner, group = os.geteuid(), os.getegid()
    else:
        owner = group = 65_534
    folder = Path("/tmp") / f"sekisho-{os.getpid()}-sealing"  # below directories that anybody may enter
    folder.mkdir(mode=0o700)
    try:
        data, last = lines(2)
        (folder / W).mkdir()
        active = folder / W / name_of(1, 1, "active")
        active.write_bytes(data)
        active.chmod(0o400)
        for path in (folder, folder / W, active):
            os.chown(path, owner, group)
        child = os.fork()
        if not child:  # pragma: no cover (another process)
            code = 1
            with contextlib.suppress(BaseException):
                os.setgroups([]) if not os.geteuid() else None
                os.setgid(group)
                os.setuid(owner)
                writer = SegmentWriter(folder / W, W)
                writer.acquire()
                code = 0 if writer.settle().last == last else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert active.with_suffix(".jsonl").read_bytes() == data
    finally:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()


def test_a_descriptor_is_closed_once_whatever_close_answers(
    files: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, last = lines(1)
    files.begin(1, data, 0.0)
    closed: list[int] = []
    real = os.close

    def interrupted(descriptor: int) -> None:
        closed.append(descriptor)
        real(descriptor)
        raise InterruptedError(errno.EINTR, "x")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", interrupted)
        files.seal(last)
        assert not files.is_open
        files.abandon()
        files.release()
        files.release()
    assert len(closed) == 3  # the folder that was synced, the segment, the lock
    assert len(set(closed)) == len(closed)


def test_a_write_that_takes_nothing_and_gives_no_reason_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = durable.create(tmp_path / "file")
    monkeypatch.setattr(os, "write", lambda *_: 0)
    with pytest.raises(OSError, match="takes no byte"):
        durable.write_all(descriptor, b"x")
    os.close(descriptor)


def test_a_piece_without_its_newline_never_joins_what_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for before, kept in (
        (b"", b""),
        (b"a\n", b"a\n"),
        (b"a\npie", b"a\n"),
        (b"pie", b""),
        (b"a\n" + b"p" * 200_000, b"a\n"),
    ):
        path.write_bytes(before)
        durable.append(path, b"b\nc\n")
        assert path.read_bytes() == kept + b"b\nc\n"


@pytest.mark.parametrize("call", ["fdatasync", "write", "fsync"])
def test_lines_that_could_not_be_made_durable_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Else the caller, who tries again, has them twice."""
    path = tmp_path / "lines"
    for content in (b"", b"a\n"):
        path.write_bytes(content)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refusing(errno.ENOSPC))
            if content and call == "fsync":
                continue  # the name is known to be durable
            with pytest.raises(OSError, match="No space left"):
                durable.append(path, b"b\n")
        assert path.read_bytes() == content


def test_a_dead_letter_and_a_checkpoint_after_a_crash_within_the_one_before_are_read(tmp_path: Path) -> None:
    letter = {"at": 1.0, "id": "x", "dataset": "sekisho.access", "status": 400, "reason": "r", "body": {}}
    (tmp_path / LETTERS).write_bytes(orjson.dumps(letter) + b"\n" + orjson.dumps(letter)[:20])
    durable.append(tmp_path / LETTERS, orjson.dumps({**letter, "id": "y"}) + b"\n")
    assert [each.id for each in letters(tmp_path)] == ["x", "y"]
    note = "log.example\n7\nroot\n\n— log.example sig\n"
    queue = CheckpointQueue(tmp_path / "queue")
    queue.put(note, 1.0)
    with (tmp_path / "queue").open("ab") as file:
        file.write(b'{"id":"check')
    CheckpointQueue(tmp_path / "queue").put(note, 2.0)
    assert len(CheckpointQueue(tmp_path / "queue")) == 2


def test_the_name_of_a_directory_that_was_there_is_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it may have died before the name was durable, or that sync may have failed."""
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_directory", synced.append)
    (tmp_path / "a").mkdir()
    durable.make_directory(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    durable.make_directory(tmp_path / "a" / "b" / "c")
    assert len(synced) == 3  # once a process
    (tmp_path / "a" / "b" / "c").rmdir()
    durable.make_directory(tmp_path / "a" / "b" / "c")
    assert synced[3:] == [tmp_path / "a" / "b"]
    monkeypatch.setattr(durable, "sync_directory", refusing(errno.EIO))
    for _ in range(2):  # a failed sync is not forgotten
        with pytest.raises(OSError, match="Input/output"):
            durable.make_directory(tmp_path / "d")
    (tmp_path / "d").mkdir(exist_ok=True)
    monkeypatch.setattr(durable, "sync_directory", refusing(errno.EACCES))
    durable.make_directory(tmp_path / "d")
