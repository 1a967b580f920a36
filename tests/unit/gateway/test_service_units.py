"""The systemd units: what systemd itself says of them, and every name and path in them against the program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from gateway.settings_parts.bounds import Timeouts
from gateway.supervision.slots import NAMES
from gateway.supervisor import DRAIN, REST

FOLDER = Path(__file__).parents[3] / "packaging" / "systemd"
SERVICE = FOLDER / "sekisho.service"
SOCKETS = sorted(FOLDER.glob("*.socket"))
EXPOSURE = 1.6  # of 10, as systemd-analyze counts
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is absent (Debian package systemd)")


def directives(path: Path) -> dict[str, str]:
    """Every directive of a unit; of one that stands twice, both values."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if (match := re.fullmatch(r"([A-Za-z]+)=(.*)", line)) is not None:
            found[match[1]] = f"{found[match[1]]} {match[2]}" if match[1] in found else match[2]
    return found


def seconds(text: str) -> float:
    return float(text)


@needs_systemd
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    """With the program where this machine has one."""
    for path in (SERVICE, *SOCKETS):
        text = path.read_text(encoding="utf-8").replace("/opt/sekisho/current/bin/sekisho", sys.executable)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    units = [str(tmp_path / path.name) for path in (SERVICE, *SOCKETS)]
    done = subprocess.run([str(ANALYZE), "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "sekisho" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
def test_little_is_exposed() -> None:
    command = [str(ANALYZE), "security", "--offline=true", "--no-pager", str(SERVICE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for sekisho.service: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE


def test_the_service_starts_the_program() -> None:
    said = directives(SERVICE)
    program, *words = said["ExecStart"].split()
    assert Path(program).name == "sekisho"
    result = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert all(word in result.output for word in words if word.startswith("--"))
    assert Path(words[-1]).parent == Path("/var/lib") / said["StateDirectory"]
    assert said["ExecReload"].endswith("-HUP $MAINPID")
    assert said["Type"] == "notify"


def test_it_may_stop_in_order() -> None:
    """The supervisor alone is told first, and has the time that it takes at most."""
    said = directives(SERVICE)
    assert said["KillMode"] == "mixed"
    assert seconds(said["TimeoutStopSec"]) > DRAIN + 3 * REST
    assert seconds(said["WatchdogSec"]) > Timeouts().stale_refuse


@pytest.mark.parametrize("path", SOCKETS, ids=lambda path: path.stem)
def test_a_socket_is_a_listener(path: Path) -> None:
    said = directives(path)
    assert path.stem == f"sekisho-{said['FileDescriptorName']}"
    assert said["FileDescriptorName"] in NAMES
    assert said["Service"] == SERVICE.name
    assert "Accept" not in said


def test_there_are_sockets() -> None:
    assert len(SOCKETS) == 2
