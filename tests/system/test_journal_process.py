"""The journal in a real process: the order of its system calls, and what stands after errors and SIGKILL."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from audit.reader import JournalReader
from audit.segment import body_of, name_of
from audit.verify import verify_journals

STRACE = shutil.which("strace")
pytestmark = pytest.mark.skipif(STRACE is None, reason="strace is not installed")
CALLS = "write,fdatasync,fsync,openat,rename,fchmod"


def run(root: Path, count: int, *strace: str, patient: bool = False) -> tuple[list[tuple[str, int]], str]:
    """Run the process under strace; returns what it was told and the trace."""
    trace = root.with_suffix(".trace")
    program = [sys.executable, "-m", "tests.support.journal_process", str(root), str(count), *["wait"] * patient]
    command = [str(STRACE), "-f", "-y", "-qq", "-o", str(trace), *strace, *program]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    said = re.findall(r"^([wsx]) (\d+)$", ended.stdout.decode(), re.MULTILINE)
    return [(kind, int(number)) for kind, number in said], trace.read_text()


def kept(root: Path) -> list[int]:
    """Verify the journal and return the numbers in it."""
    verify_journals(root)
    reader, numbers = JournalReader(root, "worker-0"), []
    while records := reader.read():
        bodies = [orjson.loads(body_of(record.line)) for record in records]
        numbers += [body["sekisho.count"] for body in bodies if "sekisho.count" in body]
    return numbers


def restart(root: Path) -> None:
    """A new writer settles what the last one left."""
    said, _ = run(root, 1, "-e", "trace=none")
    assert ("s", 0) in said


@pytest.mark.promise("P2.order-of-system-calls")
def test_told_after_write_and_after_fdatasync(tmp_path: Path) -> None:
    said, trace = run(tmp_path / "journal", 60, "-e", f"trace={CALLS}", "-s", "4096")
    assert len(said) == 60
    written: set[int] = set()
    synced: set[int] = set()
    fresh: set[str] = set()  # segments whose name is not durable
    for line in trace.splitlines():
        if ".active>" in line and "write(" in line:
            written |= {int(number) for number in re.findall(r'\\"sekisho.count\\":(\d+)', line)}
        elif "fdatasync(" in line or "fdatasync resumed" in line:
            synced |= written
        elif "openat(" in line and ".active" in line and "O_CREAT" in line:
            fresh.add(line)
        elif "fsync(" in line:
            fresh.clear()
        for kind, number in re.findall(r'write\(1<[^>]*>, "([ws]) (\d+)\\n"', line):
            assert int(number) in (written if kind == "w" else synced), f"{kind} {number} was told too early"
            assert kind == "w" or not fresh, f"s {number} was told before the new segment's name was durable"
    assert written == set(range(60))


@pytest.mark.parametrize(
    ("call", "when"), [("write", 3), ("fdatasync", 3), ("fsync", 3), ("fsync", 4), ("rename", 2), ("fchmod", 1)]
)
@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC", "signal=SIGKILL"])
@pytest.mark.promise("P2.no-acknowledged-record-missing")
def test_no_acknowledged_record_is_missing(tmp_path: Path, call: str, when: int, fault: str) -> None:
    root = tmp_path / "journal"
    folder = root / "worker-0"
    names = [name_of(epoch, seq, "active") for epoch in (1, 2, 3) for seq in range(1, 60)]
    files = [part for name in [*names, name_of(1, 1, "opening")] for part in ("-P", str(folder / name))]
    scope = ["-e", f"trace={call}", "-P", str(folder), *files, "-e", f"inject={call}:{fault}:when={when}"]
    said, trace = run(root, 40, *scope, patient=True)
    assert "INJECTED" in trace or "SIGKILL" in trace
    restart(root)
    numbers = kept(root)
    acknowledged = {number for kind, number in said if kind in "ws"}
    assert acknowledged <= set(numbers)
    assert numbers[-1] == 0  # writing goes on
    assert numbers[:-1] == sorted(set(numbers[:-1]))  # nothing twice, nothing out of order
    if fault != "signal=SIGKILL":
        assert {number for _, number in said} == set(range(40))  # everyone was told
        assert len(acknowledged) > 20  # and it recovered
