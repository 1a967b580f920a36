"""What verification hashes with, plain and side by side: the same answers for the same bytes, whatever those are."""

from __future__ import annotations

import hashlib
import os
import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import merkle, segment
from audit.segment import GENESIS, Chain, LineFault, encode_all, head
from audit.verifying import hashing, lines, sha256
from audit.verifying.chains import pack, unpack
from audit.verifying.pieces import jobs_for

WAYS = [hashing.PLAIN, hashing.Hashing(lines.chained, sha256.prefixed, worth=400_000)]
WRITER = "worker-0"


def journal(sizes: list[int], first: int = 1) -> bytes:
    events = [(b"", b'{"x":"%b"}' % (b"y" * size)) for size in sizes]
    salts = os.urandom(16 * len(sizes))
    return encode_all(head(WRITER, 1), first, GENESIS.hex().encode(), salts, events)[0]


def one_by_one(data: bytes, first: int) -> tuple[bytes, int]:
    chain = Chain(WRITER)
    chain.turn(1)
    chain.seq = first - 1
    entries, end = b"", 0
    for line in data.split(b"\n")[:-1]:
        try:
            entries += chain.accept(line + b"\n")
        except LineFault:
            break
        end += len(line) + 1
    return entries, end


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", [*range(1, 131), 500, 4096])
def test_rows_of_every_width_have_the_digests_of_the_definition(way: hashing.Hashing, width: int) -> None:
    rows = os.urandom(37 * width)
    wanted = [hashlib.sha256(b"\1" + rows[at : at + width]).digest() for at in range(0, len(rows), width)]
    assert way.prefixed(b"\1", rows, width) == b"".join(wanted)
    assert way.prefixed(b"\1", b"", width) == b""


@pytest.mark.parametrize("way", WAYS)
def test_lines_of_every_length_and_number_continue_the_chain(way: hashing.Hashing) -> None:
    for first in (1, 9, 95, 999_999_990, (1 << 62) - 3, (1 << 70)):
        data = journal([*range(130), 5000, 0, 70_000, 3], first)
        wanted = one_by_one(data, first)
        assert (len(wanted[0]), wanted[1]) == (32 * data.count(b"\n"), len(data))
        assert way.chained(data, head(WRITER, 1), first, GENESIS) == wanted


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 40])
def test_any_number_of_lines_and_the_start_of_another_one(way: hashing.Hashing, count: int) -> None:
    data = journal([20] * count)
    assert way.chained(data + b'{"salt":"', head(WRITER, 1), 1, GENESIS) == one_by_one(data, 1)


@pytest.mark.parametrize("way", WAYS)
def test_every_bit_of_a_line_counts(way: hashing.Hashing) -> None:
    data = journal([3, 3, 3])
    middle = data.index(b"\n") + 1
    for at in range(middle, data.index(b"\n", middle)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            wanted = one_by_one(bytes(changed), 1)
            assert way.chained(bytes(changed), head(WRITER, 1), 1, GENESIS) == wanted
            assert len(wanted[0]) <= 64  # the last line cites another entry, or the changed one is refused


HOSTILE = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([b"\n", b'{"salt":"', b"0" * 32, b"A" * 32, b'","body":', b"{}", b"}}", b"}", b""])).map(
        b"".join
    ),
)


@given(st.integers(0, 3), HOSTILE, st.integers(0, 3))
def test_whatever_stands_between_lines_ends_the_chain_for_both(before: int, between: bytes, after: int) -> None:
    good = journal([10] * (before + after))
    cut = sum(map(len, good.splitlines(keepends=True)[:before]))
    data = good[:cut] + between + good[cut:]
    assert len({way.chained(data, head(WRITER, 1), 1, GENESIS) for way in WAYS}) == 1
    assert WAYS[1].chained(data, head(WRITER, 1), 1, GENESIS) == one_by_one(data, 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", ["writer", "epoch", "seq", "prev"])
def test_a_line_of_another_place_is_refused(way: hashing.Hashing, change: str) -> None:
    data = journal([10, 10])
    start = head("worker-1" if change == "writer" else WRITER, 2 if change == "epoch" else 1)
    prev = bytes([1, *GENESIS[1:]]) if change == "prev" else GENESIS
    assert way.chained(data, start, 2 if change == "seq" else 1, prev) == (b"", 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_roots_of_many_rows(way: hashing.Hashing, count: int) -> None:
    rows = [[os.urandom(32) for _ in range(256)] for _ in range(count)]
    flat = b"".join(leaf for row in rows for leaf in row)
    assert merkle.roots_of_full(flat, 256, way.prefixed) == b"".join(merkle.root_of(row) for row in rows)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prev", [b"", b"\0", GENESIS + b"\0", bytes(31)])
def test_an_entry_of_another_length_is_followed_by_nothing(way: hashing.Hashing, prev: bytes) -> None:
    assert way.chained(journal([10]), head(WRITER, 1), 1, prev) == (b"", 0)


@pytest.mark.parametrize("prev", ["", "ab", "00" * 33])
def test_a_line_cannot_claim_to_follow_what_is_no_entry(prev: str) -> None:
    line = b'{"salt":"%b","body":{"v":1,"writer":"w","epoch":1,"seq":1,"prev":"%b"}}\n' % (b"0" * 32, prev.encode())
    with pytest.raises(LineFault, match="64 hex digits"):
        segment.claimed("w", line)


def test_a_megabyte_of_newlines_asks_for_no_more_memory_than_that() -> None:
    tracemalloc.start()
    try:
        assert lines.chained(b"\n" * (1 << 20), head(WRITER, 1), 1, GENESIS) == (b"", 0)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("error", [ImportError, OSError, EOFError, RuntimeError, ValueError])
def test_what_cannot_be_loaded_leaves_the_plain_way(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def broken() -> bool:
        raise error

    monkeypatch.setattr(sha256, "proved", broken)
    assert hashing.fastest(10**9) is hashing.PLAIN


def test_a_line_that_was_compiled_wrongly_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_continued", lambda *_given: 1)
    with pytest.raises(OSError, match="differs from the plain one"):
        lines.chained(journal([10], first=7), head(WRITER, 1), 1, GENESIS)


def test_packing_is_undone() -> None:
    entries = os.urandom(32 * 5)
    assert pack(entries) == b"".join(b"\0\x20" + entries[at : at + 32] for at in range(0, 160, 32))
    assert unpack(pack(entries)) == entries
    assert (pack(b""), unpack(b"")) == (b"", b"")


def test_a_processor_that_hashes_wrongly_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_words: object, _ends: object, out: object) -> None:
        out[:] = 7  # type: ignore[index]

    monkeypatch.setattr(sha256, "_hash", wrong)
    assert not sha256.proved()
    assert hashing.fastest(10**9) is hashing.PLAIN
    with pytest.raises(OSError, match="differs from OpenSSL"):
        lines.chained(journal([10]), head(WRITER, 1), 1, GENESIS)


def test_short_verifications_load_nothing_and_what_is_chosen_can_be_pickled() -> None:
    assert hashing.fastest(hashing.WORTH - 1) is hashing.PLAIN
    chosen = hashing.fastest(hashing.WORTH)
    assert chosen == WAYS[1]
    assert pickle.loads(pickle.dumps(chosen)) == chosen  # noqa: S301 (own bytes)
    assert hashing.PLAIN.chained is segment.chained


@pytest.mark.parametrize(("asked", "records", "jobs"), [(4, 0, 1), (1, 10**9, 1), (4, 50, 4), (4, 25, 2), (4, 19, 1)])
def test_a_process_more_has_to_be_worth_it(asked: int, records: int, jobs: int) -> None:
    assert jobs_for(asked, records, hashing.PLAIN._replace(worth=10)) == jobs
