"""What docs/operation.md says exists: commands with their options, settings, units and what stands in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.event import Action
from cli.main import app
from gateway.reloading.effects import PERMANENT, RESTART
from gateway.settings_reference import tables
from gateway.supervisor import DRAIN, REST, SILENCE
from tests.unit.gateway.test_service_units import directives

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
LINES = sorted({line.split("#")[0].strip() for line in re.findall(r"^sekisho .*$", TEXT, re.MULTILINE)})
KEYS = {entry.key for table in tables() for entry in table.entries}


@pytest.mark.parametrize("line", LINES)
def test_the_command_is_there_with_its_options(line: str) -> None:
    result = CliRunner().invoke(app, [line.split()[1], "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert [option for option in re.findall(r"--[a-z-]+", line) if option not in result.output] == []


def test_the_settings_are_there() -> None:
    heads = {key.partition(".")[0] for key in KEYS}
    named = {each for each in re.findall(r"`([a-z_]+\.[a-z_]+)", TEXT) if each.partition(".")[0] in heads}
    acts = {action.value for action in Action}
    assert {
        each for each in named if each not in KEYS | acts and not any(key.startswith(each) for key in KEYS)
    } == set()
    assert {"timeouts.drain", "workers.recycle_after"} <= named


def test_what_needs_a_restart_is_named() -> None:
    assert [each for each in (*PERMANENT, *RESTART) if f"`{each}" not in TEXT] == []


def test_units_and_their_lines_are_there() -> None:
    folder = ROOT / "packaging" / "systemd"
    for name in re.findall(r"sekisho-?[a-z]*\.(?:service|socket)", TEXT):
        assert (folder / name).is_file(), name
    said = directives(folder / "sekisho.service")
    for name, value in re.findall(r"`(Type|WatchdogSec|KillMode|TimeoutStopSec)=([a-z0-9-]+)`", TEXT):
        assert said[name] == value
    assert f"ワーカー最大 {DRAIN:.0f} 秒、ほかは各 {REST:.0f} 秒" in TEXT
    assert f"{SILENCE:.0f} 秒以内" in TEXT
