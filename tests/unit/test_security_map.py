"""The map from other gateways' failures to our tests: whole, and every test that it names is there."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
REFERENCE = TESTS.parents[1] / "shared" / "reference" / "security.md"
ROWS: dict[str, dict[str, Any]] = tomllib.loads((TESTS / "security_map.toml").read_text(encoding="utf-8"))


def names_in(path: Path) -> set[str]:
    """Return the names of a module's test functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_exist_or_says_why_there_are_none(row: str) -> None:
    fields = ROWS[row]
    assert fields.keys() <= {"what", "tests", "reason", "partly"}
    assert fields["what"]
    assert bool(fields.get("tests")) is not bool(fields.get("reason")), "tests, or the reason why there are none"
    for name in fields.get("tests", []):
        file, _, test = name.partition("::")
        assert test in names_in(TESTS / file), name


def test_every_failure_of_the_reference_has_its_row() -> None:
    if not REFERENCE.is_file():
        pytest.skip("the reference is not beside this repository (shared/reference)")
    chapter = REFERENCE.read_text(encoding="utf-8").partition("## 3.")[2].partition("## 4.")[0]
    assert list(ROWS) == re.findall(r"^\| (V\d+) \|", chapter, re.MULTILINE)
