"""The running auditor rotates its key, killed while it does; later the key is lost; the command line tells it all."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from audit.checkpoint import CheckpointInvalid, generate, read_signer
from audit.key_requests import Request, ask, asked
from audit.rotation import succession
from audit.verify import verify_journals
from tests.support.trails import Trail, decision

DEADLINE = 60.0


def start(trail: Trail, key: Path, state: Path) -> subprocess.Popen[bytes]:
    """Start the auditor and wait for its ready byte."""
    readable, writable = os.pipe()
    command = [
        sys.executable, "-m", "audit.daemon", "--journal", str(trail.journals), "--log", str(trail.log),
        "--key", str(key), "--interval", "0.2", "--records", "50", "--state", str(state),
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


def sekisho(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *words], capture_output=True, text=True, timeout=60, check=False
    )


def recorded(trail: Trail) -> list[dict[str, object]]:
    paths = sorted((trail.journals / "auditor").iterdir())
    return [orjson.loads(line)["body"] for path in paths for line in path.read_bytes().splitlines()]


@pytest.mark.promise("P5.key-rotation-in-log")
@pytest.mark.promise("P5.lost-key-is-visible")
def test_rotated_while_it_is_killed_and_replaced_after_a_loss(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example/audit"))
    state, key, held = tmp_path / "state", tmp_path / "keys" / "checkpoint.key", trail.signer.verifier
    key.parent.mkdir()
    key.write_text(trail.signer.encode() + "\n")
    key.chmod(0o600)
    key.with_suffix(".pub").write_text(held.encode() + "\n")
    trail.write("worker-0", [decision(at) for at in range(60)])
    ask(state, Request(held.encode(), "ciso", "定期の交換", "R1"))
    seeded = random.Random(20261122)  # noqa: S311 (a schedule, no secret)
    for _ in range(3):
        process = start(trail, key, state)
        time.sleep(seeded.uniform(0.0, 0.25))
        process.kill()
        process.wait(DEADLINE)
    process = start(trail, key, state)
    wait_for(lambda: asked(state) is None)
    trail.write("worker-0", [decision(at) for at in range(60, 90)])
    new = read_signer(key.read_text()).verifier
    assert new != held
    wait_for(lambda: new.open((trail.log / "checkpoint").read_text()).size > 95)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    keys = succession(trail.log, held)
    assert verify_journals(trail.journals, trail.log, keys, keys.last_of_each).tail_records == 0

    key.unlink()  # and now it is lost
    places = ("--log", str(trail.log))
    done = sekisho("audit", "keys", "lost", *places, "--key", str(key), "--reason", "ディスクの故障", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["new"].startswith("log.example/audit/2+")
    process = start(trail, key, state)
    third = read_signer(key.read_text()).verifier
    wait_for(lambda: (trail.log / "checkpoint").read_text().startswith("log.example/audit/2\n"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    for old in (held, new):
        with pytest.raises(CheckpointInvalid, match="replaced without the old one"):
            verify_journals(trail.journals, trail.log, succession(trail.log, old))
    keys = succession(trail.log, third)
    verify_journals(trail.journals, trail.log, keys, keys.last_of_each)
    bodies = recorded(trail)
    (replaced,) = [body for body in bodies if body["event.action"] == "audit.key_replaced"]
    assert (replaced["sekisho.justification"], replaced["sekisho.key.new"]) == ("ディスクの故障", third.encode())
    assert not any("PRIVATE" in str(body) for body in bodies)

    listed = sekisho("audit", "keys", "ls", *places, "--key", str(key.with_suffix(".pub")), "-o", "json")
    assert [row["since"] for row in json.loads(listed.stdout)] == ["first", "rotated", "replaced"]
    assert [row["reason"] for row in json.loads(listed.stdout)][:2] == ["定期の交換", "ディスクの故障"]
