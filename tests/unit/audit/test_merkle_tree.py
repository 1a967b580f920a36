"""RFC 6962 hashing: published roots, and the laws between tree, proofs and frontier."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofInvalid,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# Test vectors of the Certificate Transparency reference implementation (RFC 6962's own).
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(hashlib.sha256(bytes([number & 255, number >> 8])).digest()) for number in range(count)]


def consistency_path(old: int, hashes: list[bytes], complete: bool = True) -> list[bytes]:
    """RFC 6962 §2.1.2, by its definition."""
    count = len(hashes)
    if old == count:
        return [] if complete else [root_of(hashes)]
    split = 1 << (count - 1).bit_length() - 1
    if old <= split:
        return [*consistency_path(old, hashes[:split], complete), root_of(hashes[split:])]
    return [*consistency_path(old - split, hashes[split:], False), root_of(hashes[:split])]


def test_the_published_roots() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    frontier = Frontier()
    hashes = []
    for text, root in zip(INPUTS, ROOTS, strict=True):
        hashes.append(leaf_hash(bytes.fromhex(text)))
        frontier.append(hashes[-1])
        assert root_of(hashes).hex() == root
        assert frontier.root().hex() == root


def test_nodes_and_leaves_hash_apart() -> None:
    left, right = leaves(2)
    assert node_hash(left, right) != leaf_hash(left + right)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.data())
def test_every_inclusion_proof_verifies_and_no_other(count: int, data: st.DataObject) -> None:
    hashes = leaves(count)
    index = data.draw(st.integers(0, count - 1))
    path, root = inclusion_path(index, hashes), root_of(hashes)
    verify_inclusion(hashes[index], index, count, path, root)
    with pytest.raises(ProofInvalid):
        verify_inclusion(leaf_hash(b"another"), index, count, path, root)
    with pytest.raises(ProofInvalid):
        verify_inclusion(hashes[index], index, count, [*path, root], root)
    if path:
        with pytest.raises(ProofInvalid):
            verify_inclusion(hashes[index], index, count, path[:-1], root)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.data())
def test_every_consistency_proof_verifies_and_no_other(count: int, data: st.DataObject) -> None:
    hashes = leaves(count)
    old = data.draw(st.integers(1, count))
    path = consistency_path(old, hashes)
    verify_consistency(old, root_of(hashes[:old]), count, root_of(hashes), path)
    with pytest.raises(ProofInvalid):
        verify_consistency(old, leaf_hash(b"forked"), count, root_of(hashes), path)


def test_a_frontier_resumes_from_its_roots() -> None:
    hashes = leaves(77)
    whole = Frontier()
    for each in hashes[:50]:
        whole.append(each)
    resumed = Frontier(50, whole.roots)
    for each in hashes[50:]:
        resumed.append(each)
    assert resumed.root() == root_of(hashes)
    with pytest.raises(ValueError, match="roots: got 1, expected 3 for 50 leaves"):
        Frontier(50, [EMPTY_ROOT])
