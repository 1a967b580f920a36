"""The journal's format and files at their edges: each way a line can differ, each step of a segment's life."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from audit.segment import (
    GENESIS,
    LINE_LIMIT,
    Chain,
    LineFault,
    Link,
    Segment,
    body_of,
    claimed,
    encode,
    head,
    name_of,
    segments,
    whole_lines,
    writers,
)  # fmt: skip
from audit.segment_writer import JournalLocked, Sealed, SegmentWriter, Settled, Torn, valid_prefix

W = "worker-0"
SALT = bytes(range(16))


def lines(count: int, epoch: int = 1, first: int = 1, prev: bytes = GENESIS) -> tuple[list[bytes], list[Link]]:
    made: list[bytes] = []
    links: list[Link] = []
    for seq in range(first, first + count):
        line, entry = encode(head(W, epoch), seq, prev.hex().encode(), SALT, b'{"n":%d}' % seq)
        prev = bytes.fromhex(entry.decode())
        made.append(line)
        links.append(Link(epoch, seq, prev))
    return made, links


ZEROS = "0" * 64
LINE = (
    '{"salt":"000102030405060708090a0b0c0d0e0f","body":{"v":1,"writer":"worker-0","epoch":1,"seq":1,"prev":"'
    + ZEROS
    + '","n":1}}\n'
).encode()


def test_a_line_is_these_bytes() -> None:
    line, entry = encode(head(W, 1), 1, ZEROS.encode(), SALT, b'{"n":1}')
    assert line == LINE
    assert body_of(line) == LINE[LINE.index(b'{"v"') : -2]
    assert bytes.fromhex(entry.decode()) == sha256(SALT + body_of(line)).digest()
    assert LINE_LIMIT == 1 << 20
    chain = Chain(W)
    chain.turn(1)
    assert chain.accept(line) == bytes.fromhex(entry.decode())
    assert chain.link == Link(1, 1, chain.entry)
    assert chain.accept(lines(2)[0][1])
    assert Chain(W).link == Link(0, 0, GENESIS)


UNREADABLE = "one record of version 1"
ORDER = "the members in their frozen order and spelling"


@pytest.mark.parametrize(
    ("old", "new", "what", "got", "expected"),
    [
        (b'"v":1', b'"v":2', "v", "2", "1"), (W.encode(), b"worker-1", "writer", "worker-1", W),
        (b'"epoch":1', b'"epoch":2', "epoch", "2", "1"), (b'"seq":1', b'"seq":2', "seq", "2", "1"),
        (b'"prev":"0', b'"prev":"1', "prev", "1" + ZEROS[1:], ZEROS), (b'"v":1', b'"v": 1', "format", None, ORDER),
        (b'{"salt":', b'{ "salt":', "format", None, ORDER), (b"}}\n", b"} }\n", "format", None, ORDER),
        (b"}}\n", b"}}", "format", None, ORDER), (b',"body":', b', "body":', "format", None, ORDER),
        (LINE, b"{}\n", "format", None, UNREADABLE), (LINE, b"[]\n", "format", None, UNREADABLE),
        (LINE, b"x\n", "format", None, UNREADABLE), (b'"epoch":1,', b"", "format", None, UNREADABLE),
        (b'"0001', b'"000g', "salt", "b'000g02030405060708090a0b0c0d0e0f'", "32 hex digits"),
        (b'0a0b0c0d0e0f"', b'0A0b0c0d0e0f"', "salt", "b'00010203040506070809" + "0A0b0c0d0e0f'",
         "32 lower-case hex digits"),
    ],
)  # fmt: skip
def test_a_line_that_differs_is_told_how(old: bytes, new: bytes, what: str, got: str | None, expected: str) -> None:
    line = LINE.replace(old, new, 1)
    assert line != LINE
    chain = Chain(W)
    chain.turn(1)
    with pytest.raises(LineFault) as caught:
        chain.accept(line)
    fault = caught.value
    assert (fault.what, fault.expected) == (what, expected)
    assert fault.got == (repr(line[:80]) if got is None else got)
    assert str(fault) == f"{fault.what}: got {fault.got}, expected {fault.expected}"
    assert (chain.seq, chain.entry) == (0, GENESIS)
    assert chain.accept(LINE)


def test_a_line_claims_the_place_before_it() -> None:
    made, links = lines(2)
    assert claimed(W, made[1]) == links[0]
    assert claimed(W, made[0]) == Link(1, 0, GENESIS)
    with pytest.raises(LineFault, match="writer: got worker-0, expected worker-1"):
        claimed("worker-1", made[0])
    for wrong in (
        b"{}\n",
        b"x\n",
        b"[]\n",
        made[0].replace(b"00000", b"0000g"),
        made[0].replace(b'"seq":1', b'"seq":""'),
    ):
        with pytest.raises(LineFault) as caught:
            claimed(W, wrong)
        assert (caught.value.what, caught.value.got) == ("format", repr(wrong[:80]))
        assert caught.value.expected == UNREADABLE


def test_a_chain_goes_on_from_a_known_place() -> None:
    made, links = lines(3, epoch=2, first=5, prev=sha256(b"x").digest())
    chain = Chain(W, Link(2, 4, sha256(b"x").digest()))
    assert [chain.accept(line) for line in made] == [link.entry for link in links]
    chain.turn(3)
    assert chain.link == Link(3, 0, links[-1].entry)
    assert chain.accept(lines(1, 3, 1, links[-1].entry)[0][0])


def test_whole_lines_and_the_chained_ones_among_them() -> None:
    assert list(whole_lines(b"a\n\nb\nc")) == [b"a\n", b"\n", b"b\n"]
    assert list(whole_lines(b"\nx\n")) == [b"\n", b"x\n"]
    assert list(whole_lines(b"")) == list(whole_lines(b"a")) == []
    made, links = lines(3, first=4, prev=sha256(b"x").digest())
    data = b"".join(made)
    assert valid_prefix(W, data) == (len(data), links[2])
    assert valid_prefix(W, data[:-1]) == (len(data) - len(made[2]), links[1])
    assert valid_prefix(W, made[0] + made[2]) == (len(made[0]), links[0])
    assert valid_prefix(W, b"") == valid_prefix(W, b"x\n") == valid_prefix(W, made[0][:-1]) == (0, None)
    assert valid_prefix("worker-1", data) == (0, None)
    assert valid_prefix(W, made[0].replace(b'"n"', b'"m"') + made[1])[0] == len(made[0])


def test_segments_are_found_in_order_under_their_names(tmp_path: Path) -> None:
    assert name_of(1, 2, "jsonl") == "000001-000000000002.jsonl"
    names = ["000010-000000000001.active", "000002-000000000001.jsonl", "000001-000000000009.jsonl",
             "000002-000000000001.active", "1000000-1000000000000.active", "000010-000000000001.torn", "lock",
             "00001-000000000001.jsonl", "000001-00000000009.jsonl", "000001-000000000009.jsonl.tmp"]  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    found = segments(tmp_path)
    assert [(each.path.name, each.key, each.sealed) for each in found] == [
        (names[2], (1, 9), True), (names[1], (2, 1), True), (names[0], (10, 1), False),
        (names[4], (1_000_000, 10**12), False),
    ]  # fmt: skip
    for name in ("b", "a.anonymous", "A", "-x", "a" * 65):
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root" / "file").touch()
    assert writers(tmp_path / "root") == ["a.anonymous", "b"]
    assert writers(tmp_path / "none") == []


class Calls:
    """Records the system calls that make things durable, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        for name in ("fsync", "fdatasync", "fchmod"):
            monkeypatch.setattr(os, name, self._noted(name, getattr(os, name)))
        monkeypatch.setattr(Path, "rename", self._noted("rename", Path.rename))

    def _noted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *arguments: Any) -> Any:
            what = f"→{Path(arguments[0]).suffix}" if name == "rename" else ""
            if name == "fsync":
                what = " folder" if Path(f"/proc/self/fd/{target}").is_dir() else " file"
            self.made.append(name + what)
            return real(target, *arguments)

        return call

    def take(self) -> list[str]:
        made, self.made = self.made, []
        return made


def opened(tmp_path: Path) -> SegmentWriter:
    files = SegmentWriter(tmp_path / W, W)
    files.acquire()
    return files


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_life_of_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = opened(tmp_path)
    assert files.settle() == Settled(None, None)
    calls = Calls(monkeypatch)
    made, links = lines(4)
    assert not files.is_open
    files.begin(1, made[0], 5.0)
    assert calls.take() == ["fdatasync", "rename→.active", "fsync folder"]
    assert (files.is_open, files.size, files.opened_at) == (True, len(made[0]), 5.0)
    files.write(made[1], 1, 2, 6.0)
    assert (files.size, files.opened_at, calls.take()) == (len(made[0]) + len(made[1]), 5.0, [])
    files.sync()
    assert calls.take() == ["fdatasync"]  # the folder was synced when the epoch began
    first = files.folder / name_of(1, 1, "jsonl")
    sealed = files.seal(links[1])
    assert calls.take() == ["fchmod", "rename→.jsonl", "fsync folder"]
    assert sealed == Sealed(Segment(first, 1, 1, sealed=True), len(made[0]) + len(made[1]), links[1])
    assert (mode(first), files.is_open, first.read_bytes()) == (0o400, False, made[0] + made[1])
    files.write(made[2], 1, 3, 7.0)
    assert (files.size, files.opened_at) == (len(made[2]), 7.0)
    files.sync()
    assert calls.take() == ["fdatasync", "fsync folder"]
    files.write(made[3], 1, 4, 8.0)
    files.sync()
    assert calls.take() == ["fdatasync"]
    second = files.seal(links[3])
    assert (second.segment.key, second.bytes) == ((1, 3), len(made[2]) + len(made[3]))
    calls.take()
    files.remove([first.name, "none.jsonl"])
    assert (calls.take(), first.exists(), second.segment.path.exists()) == (["fsync folder"], False, True)
    files.release()


def test_one_process_holds_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = SegmentWriter(tmp_path / W, W), SegmentWriter(tmp_path / W, W)
    first.acquire()
    before = descriptors()
    with pytest.raises(JournalLocked, match="another process writes this journal") as caught:
        second.acquire()
    assert caught.value.errno == errno.EWOULDBLOCK
    assert str(tmp_path / W) in str(caught.value)
    assert descriptors() == before
    assert mode(tmp_path / W / "lock") == 0o600
    first.begin(1, lines(1)[0][0], 0.0)
    first.release()
    assert not first.is_open
    assert descriptors() == before - 1
    first.release()
    second.acquire()
    second.release()

    def refuse(descriptor: int, operation: int) -> None:
        assert operation == fcntl.LOCK_EX | fcntl.LOCK_NB
        raise OSError(errno.EIO, "x")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="x") as other:
        first.acquire()
    assert not isinstance(other.value, JournalLocked)
    assert descriptors() == before - 1


@pytest.mark.parametrize("tail", [b"", b'{"salt":"00', b"x\n"])
def test_what_was_left_behind_is_sealed_and_its_tail_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: bytes
) -> None:
    files = opened(tmp_path)
    made, links = lines(2)
    active = files.folder / name_of(1, 1, "active")
    active.write_bytes(b"".join(made) + tail)
    (files.folder / name_of(2, 1, "opening")).touch()
    calls = Calls(monkeypatch)
    found = files.settle()
    torn = Torn(name_of(1, 1, "torn"), len(tail)) if tail else None
    assert found == Settled(links[1], torn)
    sealed = active.with_suffix(".jsonl")
    assert {path.name for path in files.folder.iterdir()} == {
        "lock", sealed.name, *([torn.file] if torn else [])
    }  # fmt: skip
    assert (sealed.read_bytes(), mode(sealed)) == (b"".join(made), 0o400)
    if torn:
        assert (active.with_suffix(".torn").read_bytes(), mode(active.with_suffix(".torn"))) == (tail, 0o400)
    made_calls = calls.take()
    assert made_calls[-1] == "fsync folder"
    aside = ["fchmod", "fsync file", "rename→.torn", "fsync folder"] if tail else []
    rewritten = ["fchmod", "fsync file", "rename→.jsonl", "fsync folder"]
    assert made_calls[:-1] == [*aside, *rewritten]
    assert files.settle() == Settled(links[1], torn)  # until an epoch has told of it
    files.release()


def test_a_segment_without_a_whole_record_goes_and_the_one_before_is_the_last(tmp_path: Path) -> None:
    files = opened(tmp_path)
    made, links = lines(3)
    (files.folder / name_of(1, 1, "jsonl")).write_bytes(made[0] + made[1])
    (files.folder / name_of(1, 2, "jsonl")).write_bytes(b"")
    active = files.folder / name_of(1, 3, "active")
    active.write_bytes(made[2][:-1])
    found = files.settle()
    assert found == Settled(links[1], Torn(name_of(1, 3, "torn"), len(made[2]) - 1))
    assert not active.exists()
    files.release()


def test_an_epoch_that_cannot_begin_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = opened(tmp_path)
    (files.folder / name_of(3, 1, "opening")).write_bytes(b"left behind")
    before = descriptors()

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "x")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="x"):
            files.begin(3, LINE, 0.0)
    assert (files.is_open, descriptors()) == (False, before)
    files.begin(3, LINE, 0.0)
    assert (files.folder / name_of(3, 1, "active")).read_bytes() == LINE
    assert descriptors() == before + 1
    files.abandon()
    assert (files.is_open, descriptors()) == (False, before)
    files.release()


def test_a_body_is_json() -> None:
    assert orjson.loads(body_of(LINE)) == {"v": 1, "writer": W, "epoch": 1, "seq": 1, "prev": ZEROS, "n": 1}
