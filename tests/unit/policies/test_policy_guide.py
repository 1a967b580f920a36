"""The guide's examples are policies that load and pass their own tests; its table names every attribute."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policies.catalogue import NAMEABLE
from policies.load import load_policy
from policies.testing import run_tests

GUIDE = (Path(__file__).parents[3] / "docs" / "policy.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml policy\n(.*?)```", GUIDE, re.DOTALL)


def test_the_guide_has_examples() -> None:
    assert len(EXAMPLES) == GUIDE.count("```yaml")
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_loads_and_its_tests_pass(example: str) -> None:
    assert len(run_tests(load_policy(example.encode(), "docs/policy.md"))) >= 1


def test_the_table_names_every_attribute() -> None:
    assert [name for name in NAMEABLE if f"`{name}`" not in GUIDE] == []
