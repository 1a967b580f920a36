"""`sekisho witness …`, `audit verify --witness` and `audit keys …`, as a person calls them; no server is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from audit.checkpoint import (
    Checkpoint,
    claimed,
    generate,
    generate_cosigner,
    read_cosigner,
    read_signer,
    read_witness_key,
    with_line,
)
from audit.witness.memory import Witness
from audit.witness.protocol import Refused
from cli.exit_codes import ExitCode
from cli.main import app
from tests.support.trails import Trail, decision
from tests.support.witnessed_logs import SmallLog

NOW = 1_700_000_000.0
COSIGNER = generate_cosigner("w.example")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "220"})


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """A signed trail and its public key beside it."""
    made = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example/audit"))
    made.write("worker-0", [decision(at) for at in range(20)])
    made.sign()
    (tmp_path / "checkpoint.pub").write_text(made.signer.verifier.encode() + "\n")
    return made


def verify(trail: Trail, *more: str) -> Result:
    key = trail.log.with_name("checkpoint.pub")
    return run("audit", "verify", "--journal", trail.journals, "--log", trail.log, "--key", key, *more)


def test_keygen_writes_a_private_file_once_and_shows_the_public_key(tmp_path: Path) -> None:
    key = tmp_path / "w.key"
    made = run("witness", "keygen", "--name", "w.example", "--key", key, "-o", "json")
    assert made.exit_code == ExitCode.DONE
    verifier = read_witness_key(json.loads(made.stdout)["verifier"])
    assert (key.stat().st_mode & 0o777, read_cosigner(key.read_text()).verifier) == (0o600, verifier)
    assert read_witness_key(key.with_suffix(".pub").read_text()) == verifier
    assert "PRIVATE" not in made.output
    before = key.read_text()
    assert run("witness", "keygen", "--name", "w.example", "--key", key).exit_code == ExitCode.CONFLICT
    assert key.read_text() == before
    assert run("witness", "keygen", "--name", "a name", "--key", tmp_path / "x").exit_code == ExitCode.USAGE


def test_ls_tells_what_was_cosigned_and_what_was_refused(tmp_path: Path) -> None:
    log = SmallLog(generate("log.example/audit"))
    witness = Witness(tmp_path / "w", COSIGNER, {log.signer.name: [log.signer.verifier]})
    witness.add(log.request(0, 7), NOW)
    with pytest.raises(Refused):
        witness.add(log.request(0, 3), NOW + 60)
    witness.close()
    listed = run("witness", "ls", "--state", tmp_path / "w", "-o", "json")
    (row,) = json.loads(listed.stdout)
    assert (row["origin"], row["size"], row["findings"]) == ("log.example/audit", 7, {"rolled_back": 1})
    shown = run("witness", "ls", "--state", tmp_path / "w")
    assert "巻き戻し 1" in shown.output
    assert run("witness", "ls", "--state", tmp_path / "none").exit_code == ExitCode.NOT_FOUND
    (tmp_path / "w" / "0.json").write_text("{}")
    assert run("witness", "ls", "--state", tmp_path / "w").exit_code == ExitCode.INTEGRITY


@pytest.mark.promise("P5.cosigned")
def test_verify_asks_for_the_witness_and_tells_up_to_where(trail: Trail) -> None:
    witness = ("--witness", COSIGNER.verifier.encode())
    missing = verify(trail, *witness)
    assert (missing.exit_code, "w.example" in missing.output) == (ExitCode.INTEGRITY, True)
    note = (trail.log / "checkpoint").read_text()
    cosigned = with_line(note, COSIGNER.cosign(claimed(note), int(NOW)))
    (trail.log / "checkpoint").write_text(cosigned)
    there = verify(trail, *witness)
    assert there.exit_code == ExitCode.DONE, there.output
    assert f"証人 w.example は {claimed(note).size} 件までを" in there.output
    (trail.log / "cosigned").write_text(cosigned)  # the log went on, the witness has not answered yet
    trail.write("worker-0", [decision(at) for at in range(20, 30)])
    trail.sign()
    later = verify(trail, *witness)
    assert later.exit_code == ExitCode.DONE, later.output
    assert f"証人 w.example は {claimed(note).size} 件までを" in later.output
    stranger = generate_cosigner("w.example")
    assert verify(trail, "--witness", stranger.verifier.encode()).exit_code == ExitCode.INTEGRITY
    assert verify(trail, "--witness", trail.signer.verifier.encode()).exit_code == ExitCode.USAGE


@pytest.mark.promise("P5.witness-refuses-rollback")
def test_a_tree_that_is_not_the_cosigned_one_is_found_with_the_witness_alone(trail: Trail) -> None:
    """Whoever has the log's private key signs the log anew: only what the witness cosigned contradicts."""
    size = claimed((trail.log / "checkpoint").read_text()).size
    other = Checkpoint(trail.signer.name, size - 3, bytes(32))
    note = trail.signer.sign(other)
    (trail.log / "cosigned").write_text(with_line(note, COSIGNER.cosign(other, int(NOW))))
    assert verify(trail).exit_code == ExitCode.DONE
    found = verify(trail, "--witness", COSIGNER.verifier.encode())
    assert (found.exit_code, f"root at size {size - 3}" in found.output) == (ExitCode.INTEGRITY, True)


def test_keys_ls_and_verify_follow_a_lost_key_only_backward(trail: Trail, tmp_path: Path) -> None:
    key = tmp_path / "checkpoint.key"
    places: Sequence[str | Path] = ("--log", trail.log, "--key", key)
    planned = run("audit", "keys", "lost", *places, "--reason", "x", "--dry-run")
    assert (planned.exit_code, key.exists()) == (ExitCode.DONE, False)
    old = (tmp_path / "checkpoint.pub").read_text()
    kept = tmp_path / "kept"
    kept.write_text((trail.log / "checkpoint").read_text())
    made = run("audit", "keys", "lost", *places, "--reason", "故障", "-o", "json")
    assert made.exit_code == ExitCode.DONE, made.output
    again = run("audit", "keys", "lost", *places, "--reason", "故障")
    assert (again.exit_code, "audit keys rotate" in again.output) == (ExitCode.CONFLICT, True)
    trail.write("worker-0", [decision(at) for at in range(20, 30)])
    Trail(trail.journals, trail.log, read_signer(key.read_text())).sign()
    assert verify(trail, "--checkpoint", str(kept)).exit_code == ExitCode.DONE
    listed = run("audit", "keys", "ls", "--log", trail.log, "--key", tmp_path / "checkpoint.pub")
    assert "紛失後の再作成" in listed.output
    (tmp_path / "checkpoint.pub").write_text(old)
    refused = verify(trail)
    assert (refused.exit_code, "replaced without the old one" in refused.output) == (ExitCode.INTEGRITY, True)
    next((trail.log / "rotations").iterdir()).write_text("nonsense")
    for words in (("keys", "ls"), ("verify", "--journal", trail.journals)):
        broken = run("audit", *words, "--log", trail.log, "--key", tmp_path / "checkpoint.pub")
        assert broken.exit_code == ExitCode.INTEGRITY
