"""The digests that are made faster for short inputs and full rows are those of the definition."""

from __future__ import annotations

import hashlib
import os

import pytest

from audit import merkle
from audit.merkle import leaf_hash, node_hash, root_of, root_of_full, sha256_short
from audit.segment import GENESIS, Chain, LineFault, encode_all, head
from audit.verifying.bundles import split


@pytest.mark.parametrize("size", [0, 1, 33, 55, 56, 64, 65, 119, 600, 5000])
def test_short_digests_are_sha256(size: int) -> None:
    data = os.urandom(size)
    assert sha256_short(data).digest() == hashlib.sha256(data).digest()
    assert leaf_hash(data) == hashlib.sha256(b"\0" + data).digest()
    assert node_hash(data, data) == hashlib.sha256(b"\1" + data + data).digest()


def test_an_interpreter_without_its_own_sha256_uses_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(merkle, "import_module", missing)
    assert merkle._short() is hashlib.sha256


@pytest.mark.parametrize("count", [1, 2, 4, 64, 256])
def test_a_full_rows_root_is_that_of_the_definition(count: int) -> None:
    leaves = [os.urandom(32) for _ in range(count)]
    assert root_of_full(leaves) == root_of(leaves)


def lines(count: int, size: int = 10) -> list[bytes]:
    data, _ = encode_all(
        head("w", 1), 1, GENESIS.hex().encode(), os.urandom(16 * count), [(b"", b'{"x":"%b"}' % (b"y" * size))] * count
    )
    return data.splitlines(keepends=True)


def one_by_one(data: list[bytes]) -> tuple[list[bytes], str]:
    chain = Chain("w")
    chain.turn(1)
    entries = []
    for line in data:
        try:
            entries.append(chain.accept(line))
        except LineFault as fault:
            return entries, str(fault)
    return entries, ""


@pytest.mark.parametrize("size", [10, 2000])
@pytest.mark.parametrize("changed", range(4))
def test_many_lines_are_accepted_and_refused_as_one_by_one(size: int, changed: int) -> None:
    made = lines(4, size)
    for at in [None, *range(0, len(made[changed]), 1 + size // 100)]:
        mine = list(made)
        if at is not None:
            line = bytearray(mine[changed])
            line[at] ^= 1 << at % 8
            mine[changed] = bytes(line)
        data = b"".join(mine)
        chain = Chain("w")
        chain.turn(1)
        flat, fault = chain.accept_all(data)
        whole = [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
        if b"\r" in data or len(whole) != data.count(b"\n"):
            whole = [line + b"\n" for line in data.split(b"\n")[:-1]]
        entries = split(flat)
        assert (entries, str(fault or "")) == one_by_one(whole)
        assert chain.entry == (entries[-1] if entries else GENESIS)
        assert chain.seq == len(entries)
