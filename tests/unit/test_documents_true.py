"""What the documents say exists: targets, commands, links, and the tests that a threat's row names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.support.promises import load_clauses

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "SECURITY.md", "THREAT_MODEL.md", "CHANGELOG.md")


def commands(first: str) -> list[list[str]]:
    """Return the README's console lines that begin with `first`, each as its words before any option or argument."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.split("#")[0].split() for block in blocks for line in block.splitlines()]
    named = [words[1:] for words in lines if words and words[0] == first]
    return [[word for word in words if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")] for words in named]


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_the_makefile_has_the_target(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("words", commands("sekisho"), ids=" ".join)
def test_the_program_has_the_command(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"^sekisho {' '.join(words)}(?: .*)?$", readme, re.MULTILINE)
    missing = [option for option in re.findall(r"--[a-z-]+", line) if option not in result.output]
    assert missing == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_each_threat_names_what_shows_its_defence() -> None:
    rows = re.findall(
        r"^\| \d+ \|.*\| ([^|]+) \|$", (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) > 10
    listed = load_clauses()
    for shown_by in rows:
        for name in shown_by.split(", ") if shown_by != "no test yet" else ():
            path = ROOT / name.strip("`")
            tested = path.is_file() or (path.is_dir() and any(path.glob("test_*.py")))
            assert name in listed or tested, name


def test_the_gap_of_speed_is_that_of_the_recorded_run() -> None:
    """The README says how far from its goals the recorded run was, and nothing of runs that nobody can look up."""
    figures = json.loads((ROOT / "benchmarks" / "results" / "latest.json").read_text(encoding="utf-8"))["figures"]
    path, everything = (figures[name]["ratio"]["median"] for name in ("written", "written, everything"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    japanese, english = f"中央値は {path:.2f} 倍と {everything:.2f} 倍", f"{path:.2f} and {everything:.2f} times"
    missed = path > 3.3 or everything > 4.5
    assert (japanese in readme, english in readme) == (missed, missed)
    about = [line for line in readme.splitlines() if "latest.json" in line]
    said = {number for line in about for number in re.findall(r"[0-9]+\.[0-9]+", line)}
    assert said <= {"3.3", "4.5", f"{path:.2f}", f"{everything:.2f}"}
