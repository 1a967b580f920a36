"""Proofs for one record: C2SP tlog-proof v1, readable and checkable without the log. No I/O but the tiles' reading.

The file is `c2sp.org/tlog-proof@v1`, `extra <base64>`, `index <leaf>`, the audit path with one base64 hash a line, an
empty line, and the signed checkpoint as it was issued, with whatever cosignatures it carries. `extra` is the record:
its line of the journal, byte for byte. The specification says that `extra` proves nothing by itself, and here nothing
trusts it: the leaf is computed from it (line → entry = SHA-256(salt ‖ body) → leaf), so a changed record is another
leaf, which the path does not lead from.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from audit.checkpoint import Checkpoint, CheckpointInvalid, Opener, Unsigned
from audit.merkle import ProofInvalid, leaf_hash, verify_consistency, verify_inclusion
from audit.segment import Chain, LineFault, claimed, record_of
from audit.tiles import Tiles, consistency_path, inclusion_path

SUFFIX: Final = ".tlog-proof"
_HEADER: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")
_LONGEST_PATH: Final = 64


class ProofUnsigned(ProofInvalid):
    """The checkpoint in the proof is not signed by a key that is believed: nothing is said of the record."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One record, its place in the log, and what leads from it to the checkpoint (a note, verbatim)."""

    line: bytes  # of the journal, with its newline
    index: int
    path: tuple[bytes, ...]  # nearest sibling first
    checkpoint: str

    def encode(self) -> str:
        """Return the text of the proof file."""
        path = "".join(f"{_base64(node)}\n" for node in self.path)
        return f"{_HEADER}\nextra {_base64(self.line)}\nindex {self.index}\n{path}\n{self.checkpoint}"


@dataclass(frozen=True, slots=True)
class Proven:
    """A record whose proof holds."""

    record: Mapping[str, Any]
    entry: bytes
    index: int
    checkpoint: Checkpoint

    @property
    def id(self) -> str:
        """The record's `event.id`."""
        return f"{self.record['writer']}:{self.record['epoch']}:{self.record['seq']}"


def entry_of(line: bytes) -> bytes:
    """Return the entry of a journal's line (with its newline); raises `audit.segment.LineFault` where it is none."""
    try:
        writer = str(orjson.loads(line)["body"]["writer"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise LineFault("format", repr(line[:80]), "one record of version 1") from error
    return Chain(writer, claimed(writer, line)).accept(line)


def prove(tiles: Tiles, line: bytes, index: int, note: str, checkpoint: Checkpoint) -> Proof:
    """Make the proof that `line` is leaf `index` of the tree that `note`, opened, says (`checkpoint`).

    Raises `ProofInvalid` where the stored tiles do not lead to the signed root: no proof is handed out unchecked.
    """
    path = inclusion_path(tiles, index, checkpoint.size)
    verify_inclusion(leaf_hash(entry_of(line)), index, checkpoint.size, path, checkpoint.root)
    return Proof(line, index, tuple(path), note)


def check_consistency(tiles: Tiles, old: Checkpoint, new: Checkpoint) -> list[bytes]:
    """Return the proof that `old`'s tree is the start of `new`'s, made from the tiles and checked.

    Raises `ProofInvalid` where it is not, or the tiles do not lead to both roots. An empty old tree needs no proof.
    """
    if old.size == 0:
        return []
    if old.size > new.size:
        raise ProofInvalid(f"size: got {new.size}, expected {old.size} or more: the log was rolled back")
    path = consistency_path(tiles, old.size, new.size)
    verify_consistency(old.size, old.root, new.size, new.root, path)
    return path


def read_proof(text: str) -> Proof:
    """Return the proof in a file's text; raises `ProofInvalid` with the line where the format is another."""
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines[0] != _HEADER:
        raise ProofInvalid(f"line 1: got {lines[0][:80]!r}, expected {_HEADER!r}, and a checkpoint after an empty line")
    if len(lines) < 3 or not lines[1].startswith("extra "):
        raise ProofInvalid("line 2: got no `extra`, expected the record's line")
    index = _INDEX.fullmatch(lines[2])
    if index is None:
        raise ProofInvalid(f"line 3: got {lines[2][:80]!r}, expected `index` and a decimal number")
    if len(lines) > 3 + _LONGEST_PATH:
        raise ProofInvalid(f"path: got {len(lines) - 3} hashes, expected at most {_LONGEST_PATH}")
    path = tuple(_decoded(line, number) for number, line in enumerate(lines[3:], 4))
    for number, node in enumerate(path, 4):
        if len(node) != 32:
            raise ProofInvalid(f"line {number}: got {len(node)} bytes, expected a hash of 32")
    return Proof(_decoded(lines[1][len("extra ") :], 2), int(index[1]), path, checkpoint)


def verify_proof(proof: Proof, verifier: Opener) -> Proven:
    """Check record → entry → leaf → root → signature; raises `ProofInvalid` with what does not hold."""
    try:
        checkpoint = verifier.open(proof.checkpoint)
    except Unsigned as error:
        raise ProofUnsigned(f"checkpoint: {error}") from error
    except CheckpointInvalid as error:
        raise ProofInvalid(f"checkpoint: {error}") from error
    try:
        entry = entry_of(proof.line)
    except LineFault as error:
        raise ProofInvalid(f"record: {error}") from error
    verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.path, checkpoint.root)
    return Proven(record_of(proof.line), entry, proof.index, checkpoint)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str, number: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProofInvalid(f"line {number}: got {text[:80]!r}, expected base64") from error
    if _base64(data) != text:
        raise ProofInvalid(f"line {number}: got {text[:80]!r}, expected base64 in its one spelling")
    return data
