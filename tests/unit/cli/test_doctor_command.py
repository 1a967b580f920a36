"""`sekisho doctor` for people and scripts: what is wrong stands with its remedy, the exit status says if anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.exit_codes import ExitCode
from cli.main import app
from tests.support.steward_process import install


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("city"))


def test_it_says_what_to_do_and_fails_only_for_faults(config: Path) -> None:
    well = CliRunner().invoke(app, ["doctor", "-c", str(config), "--offline"])
    assert well.exit_code == ExitCode.DONE, well.output
    assert "注意  running.processes: 動いていません\n      → systemctl start sekisho" in well.stdout
    assert "certificates.public" not in well.stdout
    key = config.parent / "keys" / "sealing.key"
    key.chmod(0o644)
    ill = CliRunner().invoke(app, ["doctor", "-c", str(config), "--offline", "--all"])
    key.chmod(0o600)
    assert ill.exit_code == ExitCode.FAILED
    assert f"      → chmod 600 {key}\n" in ill.stdout  # to be copied: never folded
    assert "良好  certificates.public" in ill.stdout


def test_scripts_get_every_field(config: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "-c", str(config), "--offline", "--all", "-o", "json"])
    rows = json.loads(result.stdout)
    assert {tuple(row) for row in rows} == {("state", "check", "found", "remedy")}
    assert {row["state"] for row in rows} <= {"good", "note", "fault"}
