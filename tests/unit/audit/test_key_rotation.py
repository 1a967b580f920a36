"""The log's key gives way to another: whoever holds the old public key is led to the new one, and to nothing else."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit import durable, rotating
from audit.auditor import Auditor, LogLocked
from audit.checkpoint import Checkpoint, CheckpointInvalid, Signer, Unsigned, Verifier, claimed, generate, read_signer
from audit.elastic.checkpoints import checkpoint_document
from audit.elastic.copy import Stored
from audit.elastic.kept import judge_of
from audit.key_requests import Request, ask, asked, outcome
from audit.lost_key import NotLost, replace_lost
from audit.proof import read_proof
from audit.reader import IntegrityError
from audit.rotating import settle
from audit.rotation import (
    Succession,
    SuccessionInvalid,
    kept,
    links,
    read_handover,
    read_rotation,
    state_rotation,
    succession,
    write_replacement,
)
from audit.segment import record_of
from audit.verify import verify_journals
from tests.support.key_rotations import key_of, request, rotate, run_auditor
from tests.support.trails import Trail, decision

NOW = 1_700_000_000.0


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def key(trail: Trail, tmp_path: Path) -> Path:
    """The key's files, as an installation has them, and some records signed with it."""
    return key_of(trail, tmp_path)


def latest_size(trail: Trail) -> int:
    return claimed((trail.log / "checkpoint").read_text()).size


def proved(trail: Trail, held: Verifier, *others: Checkpoint) -> int:
    """Verify everything with one public key; returns the size of the checkpoint."""
    keys = succession(trail.log, held)
    found = verify_journals(trail.journals, trail.log, keys, [*keys.last_of_each, *others])
    assert found.checkpoint is not None
    return found.checkpoint.size


@pytest.mark.promise("P5.key-rotation-in-log")
def test_the_holder_of_the_first_key_verifies_the_log_after_two_rotations(trail: Trail, key: Path) -> None:
    first = trail.signer.verifier
    early = trail.signer.verifier.open((trail.log / "checkpoint").read_text())
    second = rotate(trail, key)
    trail.write("worker-0", [decision(at) for at in range(5, 9)])
    third = rotate(trail, key)
    trail.write("worker-0", [decision(at) for at in range(9, 12)])
    run_auditor(trail, key)
    note = (trail.log / "checkpoint").read_text()
    assert third.open(note).size > early.size
    for other in (first, second):
        with pytest.raises(CheckpointInvalid, match="no signature"):
            other.open(note)
    assert {proved(trail, held, early) for held in (first, second, third)} == {third.open(note).size}
    rotations = list(links(trail.log))
    assert [(link.old, link.new) for link in rotations] == [(first, second), (second, third)]
    assert {(link.record["sekisho.by"], link.record["sekisho.justification"]) for link in rotations} == {
        ("ciso", "定期の交換")
    }
    assert (key.stat().st_mode & 0o777, key.with_suffix(".pub").read_text()) == (0o600, third.encode() + "\n")
    done = outcome(key.parent / "state")
    assert done is not None
    assert (done.new, done.fault) == (third.encode(), "")


def test_what_the_copy_keeps_of_earlier_keys_is_ours(trail: Trail, key: Path) -> None:
    """Elasticsearch holds each checkpoint as it was signed then: a rotation makes none of them foreign."""
    early = checkpoint_document((trail.log / "checkpoint").read_text(), NOW)
    present = rotate(trail, key)
    latest = checkpoint_document((trail.log / "checkpoint").read_text(), NOW)
    judge = judge_of(trail.log, succession(trail.log, present).past)
    assert [judge(Stored(each.id, dict(each.body))) for each in (early, latest)] == [None, None]
    forged = checkpoint_document(
        trail.signer.sign(Checkpoint(trail.signer.name, latest_size(trail) + 1, bytes(32))), NOW
    )
    assert judge(Stored(forged.id, dict(forged.body))) is not None


def test_each_rotation_stands_under_the_old_keys_last_checkpoint(trail: Trail, key: Path) -> None:
    second = rotate(trail, key)
    (link,) = links(trail.log)
    proof = read_proof(kept(trail.log)[0].read_text())
    assert trail.signer.verifier.open(proof.checkpoint) == link.last
    assert proof.index < link.last.size
    assert record_of(proof.line)["sekisho.key.new"] == second.encode()
    assert "PRIVATE" not in proof.line.decode()


def test_what_the_old_key_signs_after_its_end_is_refused(trail: Trail, key: Path) -> None:
    rotate(trail, key)
    keys = succession(trail.log, trail.signer.verifier)
    (last,) = keys.last_of_each
    assert keys.open(trail.signer.sign(last)) == last
    later = Checkpoint(last.origin, last.size + 1, bytes(32))
    with pytest.raises(CheckpointInvalid, match=f"given up at size {last.size}, this says {last.size + 1}"):
        keys.open(trail.signer.sign(later))
    (trail.log / "checkpoint").write_text(trail.signer.sign(later))  # whoever stole the old key
    with pytest.raises(CheckpointInvalid, match="given up"):
        verify_journals(trail.journals, trail.log, keys)


def test_a_tree_without_the_old_keys_last_checkpoint_is_refused(trail: Trail, key: Path, tmp_path: Path) -> None:
    """The new key's owner cannot leave out what the old one signed."""
    second = read_signer((rotate(trail, key), key.read_text())[1])
    other = Trail(tmp_path / "other" / "journal", tmp_path / "other" / "log", second)
    other.write("worker-0", [decision(at) for at in range(40)])
    other.sign()
    shutil.copytree(trail.log / "rotations", other.log / "rotations")
    with pytest.raises(IntegrityError, match="root at size"):
        proved(other, trail.signer.verifier)


def test_a_replacement_that_anybody_wrote_makes_no_other_key_believed(trail: Trail, key: Path, tmp_path: Path) -> None:
    """A forged trail, signed by a key of the forger's, and a file that calls this key the one before ours."""
    held = trail.signer.verifier
    forger = generate("log.example")
    forged = Trail(tmp_path / "forged" / "journal", tmp_path / "forged" / "log", forger)
    forged.write("worker-0", [decision(at) for at in range(40)])
    forged.sign()
    note = (forged.log / "checkpoint").read_text()
    (forged.log / "rotations").mkdir()
    (forged.log / "rotations" / "000001.replaced").write_text(write_replacement(forger.verifier, note, {}))
    keys = succession(forged.log, held)
    assert [link.old for link in keys.before] == [forger.verifier]
    with pytest.raises(Unsigned, match="no signature"):
        keys.open(note)
    with pytest.raises(CheckpointInvalid, match="no signature"):
        proved(forged, held)


def test_what_keys_before_the_held_one_signed_only_demands_more(trail: Trail, key: Path) -> None:
    note = (trail.log / "checkpoint").read_text()
    second = rotate(trail, key)
    keys = succession(trail.log, second)
    with pytest.raises(Unsigned):
        keys.open(note)
    assert keys.past.open(note) == trail.signer.verifier.open(note)
    assert keys.past.open((trail.log / "checkpoint").read_text()).size == proved(trail, second)


def test_without_the_rotations_files_the_old_key_leads_nowhere(trail: Trail, key: Path) -> None:
    second = rotate(trail, key)
    shutil.rmtree(trail.log / "rotations")
    with pytest.raises(CheckpointInvalid, match="no recorded rotation leads"):
        proved(trail, trail.signer.verifier)
    assert proved(trail, second) > 0


def test_no_byte_of_a_handover_can_change(trail: Trail, key: Path) -> None:
    rotate(trail, key)
    text = kept(trail.log)[0].read_text()
    whole = read_handover(text)
    for at in range(0, len(text), 7):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        try:
            assert read_handover(changed).record == whole.record  # another spelling of nothing that counts
        except SuccessionInvalid:
            continue


def test_a_statement_needs_both_keys_and_one_name() -> None:
    old, new, third = (generate("log.example") for _ in range(3))
    text = state_rotation(old, new)
    assert read_rotation(text) == (old.verifier, new.verifier)
    body, _, signatures = text.rpartition("\n\n")
    mine, theirs = signatures.splitlines(keepends=True)
    for forged in (
        f"{body}\n\n{mine}",
        f"{body}\n\n{theirs}",
        f"{body}\n\n{mine}{third.line(body)}",
        text.replace(new.verifier.encode(), third.verifier.encode()),
        old.sign(Checkpoint("log.example", 7, bytes(32))),
        "",
    ):
        with pytest.raises(SuccessionInvalid):
            read_rotation(forged)
    with pytest.raises(ValueError, match="key name"):
        state_rotation(old, generate("other.example"))


def test_a_key_that_named_two_successors_is_refused(trail: Trail, key: Path) -> None:
    copy = Trail(trail.journals.with_name("journal2"), trail.log.with_name("log2"), trail.signer)
    shutil.copytree(trail.journals, copy.journals)
    shutil.copytree(trail.log, copy.log)
    again = key.parent / "again" / "checkpoint.key"
    again.parent.mkdir()
    shutil.copy(key, again)
    rotate(trail, key)
    rotate(copy, again)
    (first,), (second,) = links(trail.log), links(copy.log)
    with pytest.raises(SuccessionInvalid, match="came another key"):
        Succession(trail.signer.verifier, [first, second])


def deaths(monkeypatch: pytest.MonkeyPatch, at: int, *, kept_on_disk: bool) -> Callable[[], int]:
    """Die at the n-th durable step, before or after it took; returns how many steps were made."""
    steps = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == at and not kept_on_disk:
                raise Died
            value = real(*given, **named)
            if steps == at:
                raise Died
            return value

        return step

    monkeypatch.setattr(durable, "replace", dying(durable.replace))
    monkeypatch.setattr(rotating, "move", dying(rotating.move))
    monkeypatch.setattr(rotating, "close", dying(rotating.close))
    return lambda: steps


@pytest.mark.promise("P5.key-rotation-in-log")
@pytest.mark.parametrize("kept_on_disk", [False, True])
def test_a_crash_between_any_two_steps_is_harmless(trail: Trail, key: Path, tmp_path: Path, kept_on_disk: bool) -> None:
    at = 0
    while True:
        at += 1
        base = tmp_path / f"run{at}"
        here = Trail(base / "journal", base / "log", trail.signer)
        for source, target in ((trail.journals, here.journals), (trail.log, here.log), (key.parent, base / "keys")):
            shutil.copytree(source, target)
        file = base / "keys" / "checkpoint.key"
        request(file)
        with pytest.MonkeyPatch.context() as patch:
            count = deaths(patch, at, kept_on_disk=kept_on_disk)
            with contextlib.suppress(Died):
                run_auditor(here, file)
            made = count()
        run_auditor(here, file)
        run_auditor(here, file)
        signer = read_signer(file.read_text())
        assert asked(base / "keys" / "state") is None
        assert signer.verifier != trail.signer.verifier
        assert succession(here.log, trail.signer.verifier).present == signer.verifier
        assert file.with_suffix(".pub").read_text() == signer.verifier.encode() + "\n"
        assert signer.verifier.open((here.log / "checkpoint").read_text()).size == proved(here, trail.signer.verifier)
        assert len(list(links(here.log))) == 1
        old = trail.signer.encode()[-44:]
        assert [path for path in base.rglob("*") if path.is_file() and old.encode() in path.read_bytes()] == []
        if made < at:
            break
    assert at > 8  # there were that many steps to die at


def test_a_request_that_cannot_be_met_changes_nothing(trail: Trail, key: Path) -> None:
    before = key.read_text()
    ask(key.parent / "state", Request(generate("log.example").verifier.encode(), "ciso", "x", "R7"))
    run_auditor(trail, key)
    done = outcome(key.parent / "state")
    assert done is not None
    assert "but log.example+" in done.fault
    assert (key.read_text(), kept(trail.log), asked(key.parent / "state")) == (before, [], None)


def test_a_key_restored_from_before_its_end_will_not_sign(trail: Trail, key: Path) -> None:
    old = key.read_text()
    rotate(trail, key)
    key.write_text(old)
    with pytest.raises(SuccessionInvalid, match="given up for"):
        settle(key, trail.log)


@pytest.mark.promise("P5.lost-key-is-visible")
def test_after_a_loss_the_old_key_leads_nowhere_and_the_tree_goes_on(trail: Trail, key: Path) -> None:
    early = trail.signer.verifier.open((trail.log / "checkpoint").read_text())
    with pytest.raises(NotLost):
        replace_lost(key, trail.log, "root", "x", NOW)
    key.unlink()
    locked = Auditor(trail.journals, trail.log, trail.signer)
    with pytest.raises(LogLocked):
        replace_lost(key, trail.log, "root", "x", NOW)
    locked.close()
    made = replace_lost(key, trail.log, "root", "ディスクの故障", NOW)
    assert made.name == "log.example/2"
    run_auditor(trail, key)
    assert made.open((trail.log / "checkpoint").read_text()).size > early.size
    assert proved(trail, made, early) > early.size  # what the lost key signed is still the beginning
    with pytest.raises(CheckpointInvalid, match="replaced without the old one"):
        proved(trail, trail.signer.verifier)
    third = rotate(trail, key)  # and the new one can be rotated
    assert third.name == "log.example/2"
    assert proved(trail, made, early) == proved(trail, third, early)
    key.unlink()
    assert replace_lost(key, trail.log, "root", "again", NOW).name == "log.example/3"


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_while_a_lost_key_is_replaced_is_harmless(trail: Trail, key: Path, at: int) -> None:
    key.write_text("damaged")
    with pytest.MonkeyPatch.context() as patch:
        deaths(patch, at, kept_on_disk=True)
        patch.setattr("audit.lost_key.move", rotating.move)
        with pytest.raises(Died):
            replace_lost(key, trail.log, "root", "x", NOW)
    made = replace_lost(key, trail.log, "root", "x", NOW) if at < 3 else read_signer(key.read_text()).verifier
    run_auditor(trail, key)
    assert len(kept(trail.log)) == 1
    assert proved(trail, made) > 0
    assert key.with_suffix(".pub").read_text() == made.encode() + "\n"


def test_signers_of_other_logs_are_no_successors() -> None:
    stranger: Signer = generate("log.example")
    assert Succession(stranger.verifier).present == stranger.verifier
    with pytest.raises(CheckpointInvalid, match="not a signed note"):
        Succession(stranger.verifier).open("nothing")
