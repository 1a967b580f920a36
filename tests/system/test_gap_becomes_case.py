"""The auditor as a process makes a case of each gap, whoever tells of it: its own look, a writer, a comparison."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit.cases import Case, CaseReader
from audit.checkpoint import generate
from audit.event import Action, event
from tests.support.small_copy import Writer
from tests.support.trails import Trail, decision

DEADLINE = 60.0


@pytest.mark.promise("P6.gap-is-a-case")
def test_a_broken_chain_lost_records_and_a_copy_that_differs_become_cases(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))
    key = tmp_path / "log.key"
    key.write_text(trail.signer.encode())
    trail.write("worker-0", [decision(number) for number in range(3)])
    stranger = Writer(trail.journals, "worker-0", epoch=2)  # an epoch that does not cite the one before it
    stranger.request("R9", time.time())
    now = time.time()
    trail.write("worker-1", [event(Action.AUDIT_GAP, now, {"sekisho.gap.lost": 2, "sekisho.gap.reason": "EIO"})])
    found = {"sekisho.reconcile.kind": "foreign", "sekisho.count": 1, "sekisho.reconcile.names": ["forged"]}
    trail.write("control", [event(Action.COPY_DIFFERS, now, found)])

    process = start(trail, key, tmp_path / "state")
    try:
        cases = wait_for_cases(trail, 3)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    by_subject = {case.findings[0].subject: case.findings[0] for case in cases.values()}
    assert sorted(by_subject) == ["copy:elasticsearch", "journal:worker-0", "journal:worker-1"]
    assert by_subject["journal:worker-0"].kind == "trail_broken"
    assert "worker-0/000002-000000000001.active:1: record 1: prev: got 0000" in by_subject["journal:worker-0"].message
    assert by_subject["journal:worker-0"].command == "sekisho audit verify"
    assert by_subject["journal:worker-1"].kind == "records_lost"
    assert by_subject["copy:elasticsearch"].kind == "copy_foreign"


def start(trail: Trail, key: Path, state: Path) -> subprocess.Popen[bytes]:
    readable, writable = os.pipe()
    command = [
        sys.executable, "-m", "audit.daemon", "--journal", str(trail.journals), "--log", str(trail.log),
        "--key", str(key), "--interval", "0.2", "--state", str(state),
    ]  # fmt: skip
    process = subprocess.Popen(command, pass_fds=(writable,), env={**os.environ, "SEKISHO_READY_FD": str(writable)})
    os.close(writable)
    assert select.select([readable], [], [], DEADLINE)[0]
    os.close(readable)
    return process


def wait_for_cases(trail: Trail, count: int) -> dict[str, Case]:
    end = time.monotonic() + DEADLINE
    while len(cases := CaseReader(trail.journals).poll().cases) < count:
        assert time.monotonic() < end, f"only {cases}"
        time.sleep(0.1)
    return cases
