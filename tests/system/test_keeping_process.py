"""The real auditor keeps the journals: compressed, deleted on record, held, and proved by the command line."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audit import holds
from audit.checkpoint import generate
from audit.holds import Hold
from audit.keeping import expiring
from audit.segment import segments
from cli.exit_codes import ExitCode
from tests.support.trails import Trail, decision

DEADLINE = 60.0
W = "worker-0"


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """A worker's journal whose records are three years old, and control's."""
    made = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))
    (tmp_path / "checkpoint.key").write_text(made.signer.encode())
    (tmp_path / "checkpoint.pub").write_text(made.signer.verifier.encode())
    for writer in (W, "control"):
        made.write(writer, [decision(number) for number in range(60)], 6000, lambda: 1_700_000_000.0)
    return made


@contextmanager
def auditor(trail: Trail, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The auditor's process, looking often; killed at the end unless it has ended."""
    readable, writable = os.pipe()
    command = [
        sys.executable, "-m", "audit.daemon", "--journal", str(trail.journals), "--log", str(trail.log),
        "--key", str(trail.log.parent / "checkpoint.key"), "--interval", "0.2", "--keep-every", "0.2", *arguments,
    ]  # fmt: skip
    process = subprocess.Popen(command, pass_fds=(writable,), env={**os.environ, "SEKISHO_READY_FD": str(writable)})
    os.close(writable)
    assert select.select([readable], [], [], DEADLINE)[0]
    os.close(readable)
    try:
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE)


def forms(trail: Trail, writer: str = W) -> set[str]:
    return {segment.form for segment in segments(trail.journals / writer)}


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for another process's files: there is no event to wait for."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the auditor did not get there"
        time.sleep(0.05)


def verified(trail: Trail) -> subprocess.CompletedProcess[str]:
    """What `sekisho audit verify` says, as anyone would run it."""
    place = trail.log.parent
    command = [
        sys.executable, "-m", "cli", "--lang", "en", "audit", "verify", "--journal", str(trail.journals),
        "--log", str(trail.log), "--key", str(place / "checkpoint.pub"),
    ]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2]
    )


@pytest.mark.promise("P5.deletion-on-record")
@pytest.mark.promise("P5.hold-keeps")
def test_the_auditor_compresses_and_deletes_and_the_command_line_proves_what_is_left(trail: Trail) -> None:
    found = segments(trail.journals / "control")
    hold = Hold("H1", (), (), None, None, "", "審査請求", "suzuki", 0.0)
    holds.add(trail.journals, hold)
    with auditor(trail, "--compress-after", "1", "--retain", "access=1", "--retain", "system=100000000") as process:
        wait_for(lambda: forms(trail) == forms(trail, "control") == {"jsonl.zst"})
        time.sleep(1.0)  # several looks
        assert forms(trail) == {"jsonl.zst"}  # what is held stays, however old
        holds.remove(trail.journals, "H1")
        wait_for(lambda: forms(trail) == {"entries"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    assert forms(trail, "control") == {"jsonl.zst"}
    proved = verified(trail)
    assert (proved.returncode, "records proven" in proved.stderr) == (ExitCode.DONE, True), proved.stderr
    # Somebody takes control's lines away and leaves their entries, as the auditor would have, but for the record.
    victim = segments(trail.journals / "control")[1]
    held = expiring.entries_of(victim, [segments(trail.journals / "control")[number] for number in (0, 2)])
    expiring.leave(victim, held)
    expiring.delete(victim)
    refused = verified(trail)
    assert refused.returncode == ExitCode.INTEGRITY
    assert f"control/{found[1].under('entries').path.name}" in refused.stderr
    assert "audit.expired" in refused.stderr


@pytest.mark.promise("P5.compressed-proves-alike")
def test_killed_at_any_time_it_finishes_what_it_began(trail: Trail) -> None:
    for delay in (0.05, 0.15, 0.3, 0.45, 0.6):
        with auditor(trail, "--compress-after", "1", "--retain", "access=1"):
            time.sleep(delay)  # SIGKILL at the end, wherever it is by then
        assert verified(trail).returncode == ExitCode.DONE
    with auditor(trail, "--compress-after", "1", "--retain", "access=1") as process:
        wait_for(lambda: forms(trail) == {"entries"})
        wait_for(lambda: forms(trail, "control") == {"jsonl.zst"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    assert verified(trail).returncode == ExitCode.DONE
    left = [path.name for path in (trail.journals / W).iterdir() if path.suffix == ".tmp"]
    assert left == []
