"""The auditor as a process: ready, signs in time, dies anywhere, comes back, and never contradicts itself."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.checkpoint import Checkpoint, generate
from audit.issued import issued
from audit.verify import verify_journals
from tests.support.trails import Trail, decision

DEADLINE = 60.0


def start(trail: Trail, key: Path) -> subprocess.Popen[bytes]:
    """Start the auditor and wait for its ready byte."""
    readable, writable = os.pipe()
    command = [
        sys.executable, "-m", "audit.daemon", "--journal", str(trail.journals), "--log", str(trail.log),
        "--key", str(key), "--interval", "0.2", "--records", "50",
    ]  # fmt: skip
    process = subprocess.Popen(command, pass_fds=(writable,), env={**os.environ, "SEKISHO_READY_FD": str(writable)})
    os.close(writable)
    assert select.select([readable], [], [], DEADLINE)[0]
    assert os.read(readable, 1) == b"R"
    os.close(readable)
    return process


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for another process's file: there is no event to wait for."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the auditor did not get there"
        time.sleep(0.02)


def checkpoint(trail: Trail) -> Checkpoint | None:
    path = trail.log / "checkpoint"
    return trail.signer.verifier.open(path.read_text()) if path.exists() else None


def covered(trail: Trail, records: int) -> bool:
    found = checkpoint(trail)
    return found is not None and found.size >= records


@pytest.fixture
def key(trail: Trail, tmp_path: Path) -> Path:
    """The signing key as a file."""
    path = tmp_path / "checkpoint.key"
    path.write_text(trail.signer.encode())
    return path


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """An empty trail."""
    return Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))


@pytest.mark.promise("P5.checkpoints-survive-the-auditor")
def test_killed_at_any_time_it_signs_one_growing_tree(trail: Trail, key: Path) -> None:
    kept: list[Checkpoint] = []
    written = 0
    for round_ in range(4):
        process = start(trail, key)
        trail.write(f"worker-{round_ % 2}", [decision(round_ * 1000 + at) for at in range(120)])
        written += 121
        wait_for(lambda: covered(trail, written if round_ == 3 else written - 60))  # noqa: B023 (called at once)
        process.send_signal(signal.SIGTERM if round_ == 3 else signal.SIGKILL)
        assert process.wait(DEADLINE) in (0, -signal.SIGKILL)
        found = checkpoint(trail)
        assert found is not None
        kept.append(found)
    past = [trail.signer.verifier.open(each.note) for each in issued(trail.log)]
    assert 1 <= len(past) <= 4  # the first of each start, then one each ten minutes
    proved = verify_journals(trail.journals, trail.log, trail.signer.verifier, [*kept, *past])
    assert proved.tail_records == 0  # an orderly end leaves nothing uncovered
    assert proved.writers["auditor"].epochs == 4


def test_it_will_not_start_beside_another_or_on_a_forked_log(trail: Trail, key: Path) -> None:
    process = start(trail, key)
    command = [sys.executable, "-m", "audit.daemon", "--journal", str(trail.journals), "--log", str(trail.log),
               "--key", str(key)]  # fmt: skip
    second = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False)
    assert second.returncode == 1
    assert b"another process grows this log" in second.stderr
    wait_for(lambda: covered(trail, 2))
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    found = checkpoint(trail)
    assert found is not None
    (trail.log / "checkpoint").write_text(trail.signer.sign(Checkpoint("log.example", found.size, bytes(32))))
    third = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False)
    assert third.returncode == 1
    assert b"do not lead to the root signed" in third.stderr
