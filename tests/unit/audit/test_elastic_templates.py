"""Everything that prepares a cluster, pinned: `python -m tests.unit.audit.test_elastic_templates` writes it anew."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from audit.ecs import FIELDS
from audit.elastic.bootstrap import key_steps, template_steps, upgrade_steps
from audit.elastic.template import DATASETS, VERSION, Form, Lifecycle, component_templates

GOLDEN = Path(__file__).parents[2] / "golden" / "elasticsearch"
FORMS = {
    "for-ever": Lifecycle(),
    "stream": Lifecycle("365d"),
    "ilm": Lifecycle("1825d", Form.POLICY),
}


def made(name: str) -> list[dict[str, Any]]:
    """Return every call for one form of retention: templates, a stream that stands, keys."""
    lifecycle = FORMS[name]
    steps = (*template_steps(lifecycle), *upgrade_steps("logs-sekisho.access-mihon", lifecycle), *key_steps("mihon"))
    return [asdict(step) for step in steps]


def text(name: str) -> bytes:
    return orjson.dumps(made(name), option=orjson.OPT_INDENT_2) + b"\n"


@pytest.mark.parametrize("name", FORMS)
def test_the_calls_are_the_pinned_ones(name: str) -> None:
    same = (GOLDEN / f"{name}.json").read_bytes() == text(name)
    assert same, "if that is meant: python -m tests.unit.audit.test_elastic_templates"


def test_retention_is_a_component_of_its_own_that_may_be_absent() -> None:
    for name, lifecycle in FORMS.items():
        parts = component_templates(lifecycle)
        assert ("sekisho@lifecycle" in parts) == (name != "for-ever")
        assert "lifecycle" not in str(parts["sekisho@mappings"]) + str(parts["sekisho@settings"])


def test_each_dataset_has_one_template_and_a_new_field_raises_the_version() -> None:
    names = [step["path"].rsplit("/", 1)[1] for step in made("for-ever") if "_index_template" in step["path"]]
    assert names == [f"logs-sekisho.{dataset}" for dataset in DATASETS]
    assert len(FIELDS) < VERSION


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for each in FORMS:
        (GOLDEN / f"{each}.json").write_bytes(text(each))
