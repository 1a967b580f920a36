"""Auditor and witness as processes: checkpoints are cosigned, a dead witness delays nothing, a roll-back shows."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.checkpoint import CheckpointInvalid, Cosigner, claimed, cosigned, generate, generate_cosigner
from audit.verify import verify_journals
from audit.witnesses import State, remembered, standings
from tests.support.growing_files import records_of
from tests.support.ports import free_port
from tests.support.trails import Trail, decision
from tests.support.witness_process import WitnessProcess, start_witness

DEADLINE = 60.0


def start_auditor(trail: Trail, state: Path, witness: WitnessProcess, cosigner: Cosigner) -> subprocess.Popen[bytes]:
    """Start the auditor with one witness and wait for its ready byte."""
    key = trail.log.with_suffix(".key")
    key.write_text(trail.signer.encode())
    readable, writable = os.pipe()
    command = [
        sys.executable, "-m", "audit.daemon", "--journal", str(trail.journals), "--log", str(trail.log),
        "--key", str(key), "--interval", "0.2", "--records", "50", "--state", str(state),
        "--witness", witness.url, cosigner.verifier.encode(),
    ]  # fmt: skip
    process = subprocess.Popen(command, pass_fds=(writable,), env={**os.environ, "SEKISHO_READY_FD": str(writable)})
    os.close(writable)
    assert select.select([readable], [], [], DEADLINE)[0]
    os.close(readable)
    return process


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for another process's file: there is no event to wait for."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not get there"
        time.sleep(0.05)


def size_of(trail: Trail, name: str = "checkpoint") -> int:
    path = trail.log / name
    return claimed(path.read_text()).size if path.exists() else 0


def is_cosigned(trail: Trail, cosigner: Cosigner, least: int) -> bool:
    """Tell whether the published checkpoint covers this many records and has the witness's line."""
    if size_of(trail) < least:
        return False
    try:
        return cosigned((trail.log / "checkpoint").read_text(), cosigner.verifier) > 0
    except CheckpointInvalid:
        return False


def state_of(folder: Path) -> State | None:
    return next((each.state for each in standings(folder)), None)


def recorded(trail: Trail, action: str) -> list[dict[str, object]]:
    return [body for body in records_of(trail.journals, "auditor") if body["event.action"] == action]


def last_told(trail: Trail) -> object:
    """The state that the auditor recorded last of its witness, None before the first."""
    told = recorded(trail, "audit.witness")
    return told[-1]["sekisho.witness.state"] if told else None


@pytest.mark.promise("P5.cosigned")
@pytest.mark.promise("P5.witness-refuses-rollback")
def test_cosigned_while_it_lives_told_when_it_dies_and_a_restored_copy_is_refused(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example/audit"))
    old = Trail(tmp_path / "old" / "journal", tmp_path / "old" / "log", trail.signer)
    cosigner = generate_cosigner("w.example")
    address = f"127.0.0.1:{free_port()}"
    witness = start_witness(tmp_path / "w", cosigner, [trail.signer.verifier], address=address)
    auditor = start_auditor(trail, tmp_path / "state", witness, cosigner)
    try:
        trail.write("worker-0", [decision(at) for at in range(60)])
        wait_for(lambda: is_cosigned(trail, cosigner, 61))
        first = size_of(trail)
        shutil.copytree(trail.journals, old.journals)
        shutil.copytree(trail.log, old.log)

        assert witness.end(signal.SIGKILL) == -signal.SIGKILL
        trail.write("worker-1", [decision(at) for at in range(60)])
        wait_for(lambda: size_of(trail) >= first + 61)  # signing waits for nobody
        wait_for(lambda: state_of(tmp_path / "state") is State.UNREACHABLE)

        witness = start_witness(tmp_path / "w", cosigner, [trail.signer.verifier], address=address)
        wait_for(lambda: is_cosigned(trail, cosigner, first + 61))
        auditor.send_signal(signal.SIGTERM)
        assert auditor.wait(DEADLINE) == 0
        told = [body["sekisho.witness.state"] for body in recorded(trail, "audit.witness")]
        assert told == ["cosigning", "unreachable", "cosigning"]  # each change once
        assert size_of(trail, "cosigned") > first
        verify_journals(trail.journals, trail.log, trail.signer.verifier)

        auditor = start_auditor(old, tmp_path / "old-state", witness, cosigner)  # yesterday's backup, put back
        wait_for(lambda: state_of(tmp_path / "old-state") is State.ROLLED_BACK)
        wait_for(lambda: last_told(old) == "rolled_back")
        assert recorded(old, "audit.witness")[-1]["event.outcome"] == "failure"
        (seen,) = remembered(tmp_path / "w")
        assert seen["findings"]["rolled_back"] >= 1
        assert not is_cosigned(old, cosigner, first + 1)
    finally:
        auditor.kill()
        auditor.wait(DEADLINE)
        witness.end()
