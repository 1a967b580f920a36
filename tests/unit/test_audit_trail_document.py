"""What docs/audit-trail.md says exists: each command with its options, each clause, each linked file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.support.promises import load_clauses

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit-trail.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def told() -> list[str]:
    """Return every command line of the document: those of its blocks and those within a sentence."""
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    within = re.findall(r"`((?:sekisho )(?:[a-z-]+)[^`]*|(?:audit|witness|es) [a-z-]+[^`]*)`", TEXT)
    return sorted({line.removeprefix("sekisho ") for line in (*lines, *within)})


@pytest.mark.parametrize("line", told())
def test_the_command_is_there_with_its_options(line: str) -> None:
    words = re.split(r" (?=--|[A-Z]|[0-9])", line)[0].split()
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert [option for option in re.findall(r"--[a-z-]+", line) if option not in result.output] == []


def test_the_commands_are_found() -> None:
    assert {"audit verify --witness VKEY", "witness ls --state DIR", "audit keys rotate"} <= set(told())
    assert len(told()) > 20


def test_the_clauses_are_listed() -> None:
    named = set(re.findall(r"P\d\.[a-z-]+", TEXT))
    assert named
    assert named - set(load_clauses()) == set()


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (DOCUMENT.parent / link).exists()] == []


def test_what_it_says_of_each_component_is_whole() -> None:
    """A row for whoever the design names: nobody is left out of what may be trusted."""
    for component in (
        "worker",
        "control",
        "steward",
        "auditor",
        "journal",
        "log",
        "Elasticsearch",
        "witness",
        "operator",
    ):
        assert re.search(rf"^\| [^|]*\b{component}\b[^|]*\|[^|]*(?:trusted)[^|]*\|", TEXT, re.MULTILINE), component
