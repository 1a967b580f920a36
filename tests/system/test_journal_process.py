"""The journal in a real process: the order of its system calls. What stands after faults: `test_fault_sample`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = "write,writev,fdatasync,fsync,openat,rename,fchmod"


@pytest.mark.promise("P2.order-of-system-calls")
def test_told_after_write_and_after_fdatasync(tmp_path: Path, requires_strace: Path) -> None:
    program = [sys.executable, "-m", "tests.support.journal_process", str(tmp_path / "journal"), "60"]
    command = [str(requires_strace), "-f", "-y", "-qq", "-o", str(tmp_path / "trace"), "-s", "4096",
               "-e", f"trace={CALLS}", *program]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, timeout=110, check=True)
    said = re.findall(r"^[wsx] \d+$", ended.stdout.decode(), re.MULTILINE)
    trace = (tmp_path / "trace").read_text()
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
        for kind, number in re.findall(r'writev\(1<[^>]*>, \[\{iov_base="([ws]) (\d+)\\n"', line):
            assert int(number) in (written if kind == "w" else synced), f"{kind} {number} was told too early"
            assert kind == "w" or not fresh, f"s {number} was told before the new segment's name was durable"
    assert written == set(range(60))
