"""What a witness answers: every case of C2SP tlog-witness as a table, and what holds over all sequences of requests."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.checkpoint import Checkpoint, generate, with_line
from audit.merkle import EMPTY_ROOT, root_of
from audit.witness.protocol import Finding, Refused, Submission, judge, read_submission
from tests.support.witnessed_logs import SmallLog, consistency

LOG = SmallLog(generate("log.example/audit"))
FORKED = SmallLog(LOG.signer, fork=5)
OTHER = SmallLog(generate("other.example/log"))
SUCCESSOR = SmallLog(generate("log.example/audit"))  # the same origin, another key
LOGS = {"log.example/audit": [LOG.signer.verifier], "other.example/log": [OTHER.signer.verifier]}
HASH = base64.b64encode(bytes(32)).decode()


def answer(body: bytes, known: Checkpoint | None) -> tuple[int, Finding, int | None]:
    """Return status, finding and the size told."""
    try:
        judge(read_submission(body), known, LOGS)
    except Refused as refusal:
        return refusal.status, refusal.finding, refusal.size
    return 200, Finding.NOTHING, None


@pytest.mark.promise("P5.witness-refuses-rollback")
@pytest.mark.parametrize(
    ("known", "body", "expected"),
    [
        (0, LOG.request(0, 7), (200, Finding.NOTHING, None)),
        (7, LOG.request(7, 12), (200, Finding.NOTHING, None)),
        (7, LOG.request(7, 7), (200, Finding.NOTHING, None)),
        (8, LOG.request(8, 12), (200, Finding.NOTHING, None)),
        (7, LOG.request(0, 12), (409, Finding.NOTHING, 7)),
        (7, LOG.request(6, 12), (409, Finding.NOTHING, 7)),
        (7, LOG.request(0, 7), (409, Finding.NOTHING, 7)),
        (0, LOG.request(3, 7), (409, Finding.NOTHING, 0)),
        (12, LOG.request(7, 7), (409, Finding.ROLLED_BACK, 12)),
        (12, LOG.request(0, 11), (409, Finding.ROLLED_BACK, 12)),
        (7, FORKED.request(7, 7), (409, Finding.FORKED, 7)),
        (7, FORKED.request(0, 7), (409, Finding.FORKED, 7)),
        (7, FORKED.request(7, 12), (422, Finding.UNPROVED, None)),
        (7, Submission(7, (), LOG.note(12)).encode(), (422, Finding.UNPROVED, None)),
        (7, Submission(7, (bytes(32),), LOG.note(7)).encode(), (422, Finding.UNPROVED, None)),
        (0, Submission(0, (bytes(32),), LOG.note(7)).encode(), (422, Finding.UNPROVED, None)),
        (0, Submission(13, (), LOG.note(12)).encode(), (400, Finding.NOTHING, None)),
        (0, SmallLog(generate("stranger.example")).request(0, 7), (404, Finding.NOTHING, None)),
        (0, SUCCESSOR.request(0, 7), (403, Finding.NOTHING, None)),
        (0, b"old 0\n\n" + LOG.note(7).replace("\n7\n", "\n8\n").encode(), (403, Finding.NOTHING, None)),
    ],
)  # fmt: skip
def test_each_case_has_the_specified_status(known: int, body: bytes, expected: tuple[int, Finding, int | None]) -> None:
    assert answer(body, LOG.checkpoint(known) if known else None) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"old 0\n",
        b"old 00\n\n" + LOG.note(7).encode(),
        b"old -1\n\n" + LOG.note(7).encode(),
        b"old 0 \n\n" + LOG.note(7).encode(),
        b"old 0\r\n\n" + LOG.note(7).encode(),
        b"new 0\n\n" + LOG.note(7).encode(),
        b"old 0\nnot base64!\n\n" + LOG.note(7).encode(),
        b"old 0\nAAAA\n\n" + LOG.note(7).encode(),
        b"old 0\n" + HASH.replace("A=", "B=").encode() + b"\n\n" + LOG.note(7).encode(),
        b"old 1\n" + (HASH + "\n").encode() * 64 + b"\n" + LOG.note(7).encode(),
        b"old 0\n\nlog.example/audit\n7\n",
        b"old 0\n\nlog.example/audit\n07\n" + HASH.encode() + b"\n\n\xe2\x80\x94 x AAAAAA==\n",
        b"old 0\n\nlog.example/audit\n7\n" + HASH.encode() + b"\nextension\n\n\xe2\x80\x94 x AAAAAA==\n",
    ],
)
def test_what_is_malformed_is_400(body: bytes) -> None:
    assert answer(body, None)[0] == 400


def test_a_log_may_have_two_keys_while_one_is_replaced() -> None:
    both = {"log.example/audit": [LOG.signer.verifier, SUCCESSOR.signer.verifier]}
    for log in (LOG, SUCCESSOR):
        assert judge(read_submission(log.request(0, 7)), None, both) == log.checkpoint(7)
    crossed = with_line(LOG.note(7), SUCCESSOR.signer.line(LOG.checkpoint(7).body()))
    assert judge(Submission(0, (), crossed), None, LOGS) == LOG.checkpoint(7)  # an unknown key's line is ignored


def test_the_empty_tree_has_one_root() -> None:
    empty = Checkpoint(LOG.signer.name, 0, EMPTY_ROOT)
    assert judge(Submission(0, (), LOG.signer.sign(empty)), None, LOGS) == empty
    false = Checkpoint(LOG.signer.name, 0, bytes(32))
    assert answer(Submission(0, (), LOG.signer.sign(false)).encode(), None)[0] == 422
    assert answer(LOG.request(0, 7), empty)[0] == 200


def test_a_request_reads_back_as_it_was_written() -> None:
    submission = Submission(7, (bytes(32), b"\1" * 32), LOG.note(12))
    assert read_submission(submission.encode()) == submission
    assert submission.encode().startswith(b"old 7\nAAAA")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 14), st.integers(1, 14)), max_size=12))
def test_whatever_is_asked_only_one_growing_tree_is_cosigned(asked: list[tuple[bool, int, int]]) -> None:
    known: Checkpoint | None = None
    signed: list[Checkpoint] = []
    for forked, old, size in asked:
        log = FORKED if forked else LOG
        path = consistency(min(old, size), log.leaves(size))
        try:
            known = judge(Submission(old, tuple(path), log.note(size)), known, LOGS)
        except Refused:
            continue
        signed.append(known)
    assert [each.size for each in signed] == sorted(each.size for each in signed)
    if signed:
        (last,) = [log for log in (LOG, FORKED) if log.checkpoint(signed[-1].size) == signed[-1]][:1]
        assert all(root_of(last.leaves(each.size)) == each.root for each in signed)
