"""A checkpoint that the copy keeps is held against our key, its predecessors, and the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.auditor import Auditor
from audit.checkpoint import Checkpoint, Signer, generate
from audit.elastic.checkpoints import checkpoint_document
from audit.elastic.copy import Stored
from audit.elastic.differences import Kind
from audit.elastic.kept import Judge, judge_of
from audit.rotation import succession
from tests.support.small_copy import NOON, Writer

KEY = generate("log.example")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    worker = Writer(tmp_path / "journal", "worker-0")
    for number in range(300):
        worker.refusal(f"N{number}", NOON + number)
    auditor = Auditor(tmp_path / "journal", tmp_path / "log", KEY)
    while auditor.poll():
        continue
    auditor.commit()
    auditor.close()
    return tmp_path / "log"


@pytest.fixture
def judge(log: Path) -> Judge:
    return judge_of(log, succession(log, KEY.verifier))


def stored(note: str, **changes: object) -> Stored:
    document = checkpoint_document(note, NOON)
    return Stored(document.id, {**document.body, **changes})


def test_ours_is_right_whatever_time_it_was_stored_at(judge: Judge, log: Path) -> None:
    note = (log / "checkpoint").read_text()
    assert judge(stored(note)) is None
    assert judge(stored(note, **{"@timestamp": "2026-01-01T00:00:00.000Z"})) is None


@pytest.mark.parametrize(
    ("size", "signer", "kind"),
    [(300, KEY, Kind.CHECKPOINT), (301, KEY, Kind.CHECKPOINT), (300, generate("log.example"), Kind.FOREIGN)],
    ids=["another root", "more than the log has", "another key"],
)
def test_one_that_the_log_does_not_lead_to_and_one_of_another_key(
    judge: Judge, size: int, signer: Signer, kind: Kind
) -> None:
    note = signer.sign(Checkpoint("log.example", size, bytes(32)))
    told = judge(stored(note))
    assert told is not None
    assert told[0] is kind


def test_fields_that_do_not_fit_the_signed_text(judge: Judge, log: Path) -> None:
    note = (log / "checkpoint").read_text()
    assert judge(stored(note, **{"sekisho.log.size": 7})) == (
        Kind.CHANGED, "the fields beside the signed text are not those of its size",
    )  # fmt: skip
    assert judge(Stored("checkpoint:log.example:9", stored(note).body)) is not None
    assert judge(Stored("checkpoint:x", {})) == (Kind.FOREIGN, "no signed text")
