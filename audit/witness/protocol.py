r"""What is said between a log and a witness (C2SP tlog-witness, `add-checkpoint`). No I/O.

The request is `old <size>\n`, at most 63 lines with one base64 hash each (the consistency proof of RFC 6962 §2.1.2
from that size to the checkpoint's), an empty line, and the checkpoint as a signed note. `judge` is the witness's whole
mind: it answers with the checkpoint that may be cosigned, or raises `Refused` with the status to send.

Checkpoints with extension lines, which the specification calls "not recommended", are refused as malformed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from audit.checkpoint import Checkpoint, CheckpointInvalid, Verifier, claimed
from audit.merkle import EMPTY_ROOT, ProofInvalid, verify_consistency

PATH: Final = "/add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
BODY_LIMIT: Final = 65_536  # bytes of a request or an answer
_LONGEST_PROOF: Final = 63
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")


class Finding(StrEnum):
    """What a refused but truly signed checkpoint says about its log."""

    NOTHING = ""
    ROLLED_BACK = "rolled_back"  # smaller than one that was cosigned
    FORKED = "forked"  # the same size and another root: with the one cosigned, a proof of misbehaviour
    UNPROVED = "unproved"  # larger, but what was proved is not that it contains the one cosigned


class Refused(Exception):
    """The answer is `status` (HTTP) with `text`; `finding` is what the witness writes down."""

    def __init__(self, status: int, text: str, finding: Finding = Finding.NOTHING, size: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.finding = finding
        self.size = size  # where the witness tells the size that it knows (409)


@dataclass(frozen=True, slots=True)
class Submission:
    """One request: the size the log believes the witness to know, the proof from there, and the signed note."""

    old: int
    path: tuple[bytes, ...]
    note: str

    def encode(self) -> bytes:
        """Return the body of the request."""
        proof = "".join(f"{base64.b64encode(node).decode()}\n" for node in self.path)
        return f"old {self.old}\n{proof}\n{self.note}".encode()


def read_submission(body: bytes) -> Submission:
    """Return what a request says; raises `Refused` (400) where it is malformed."""
    try:
        head, blank, note = body.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise Refused(400, "the body is not UTF-8") from error
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if not blank or old is None:
        raise Refused(400, f"line 1: got {first[:40]!r}, expected `old` and a size, and an empty line after the proof")
    if len(lines) > _LONGEST_PROOF:
        raise Refused(400, f"proof: got {len(lines)} lines, expected at most {_LONGEST_PROOF}")
    return Submission(int(old[1]), tuple(_hash(line, number) for number, line in enumerate(lines, 2)), note)


def judge(submission: Submission, known: Checkpoint | None, logs: Mapping[str, Sequence[Verifier]]) -> Checkpoint:
    """Return the checkpoint that may be cosigned once it is remembered; raises `Refused`.

    `known` is the one cosigned last for this origin, `logs` the keys that are trusted for each origin.
    """
    try:
        origin = claimed(submission.note).origin
    except CheckpointInvalid as error:
        raise Refused(400, f"checkpoint: {error}") from error
    if origin not in logs:
        raise Refused(404, f"no log {origin[:200]!r} is known here")
    checkpoint = _opened(submission.note, logs[origin])
    size = known.size if known is not None else 0
    if submission.old > checkpoint.size:
        raise Refused(400, f"old size: got {submission.old}, expected at most {checkpoint.size}")
    if known is not None and checkpoint.size < size:
        raise Refused(409, f"{size}\n", Finding.ROLLED_BACK, size)
    if known is not None and checkpoint.size == size and checkpoint.root != known.root:
        raise Refused(409, f"{size}\n", Finding.FORKED, size)
    if submission.old != size:
        raise Refused(409, f"{size}\n", Finding.NOTHING, size)
    _require_growth(known, checkpoint, submission.path)
    return checkpoint


def _opened(note: str, keys: Sequence[Verifier]) -> Checkpoint:
    said = "no key is trusted for this log"
    for key in keys:
        try:
            return key.open(note)
        except CheckpointInvalid as error:
            said = str(error)
    raise Refused(403, said)


def _require_growth(known: Checkpoint | None, checkpoint: Checkpoint, path: Sequence[bytes]) -> None:
    """Raise unless `path` proves that the tree of `checkpoint` begins with that of `known`."""
    if known is None or known.size == 0:
        if path:
            raise Refused(422, "from size 0 the proof is empty", Finding.UNPROVED)
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise Refused(422, "the tree of no leaves has another root", Finding.UNPROVED)
        return
    try:
        verify_consistency(known.size, known.root, checkpoint.size, checkpoint.root, path)
    except ProofInvalid as error:
        raise Refused(422, f"consistency proof: {error}", Finding.UNPROVED) from error


def _hash(line: str, number: int) -> bytes:
    try:
        value = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"line {number}: got {line[:60]!r}, expected base64") from error
    if len(value) != 32 or base64.b64encode(value).decode() != line:
        raise Refused(400, f"line {number}: got {line[:60]!r}, expected the base64 of 32 bytes")
    return value
