"""The tour reads journals by itself, with JSON alone: what it asks of a completion stands there or in its decision."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.tour.trail import journalled

PASSAGES = Path(__file__).parents[2] / "golden" / "audit" / "passages"


@pytest.mark.parametrize("shape", ["whole", "short"])
def test_a_completion_comes_with_who_and_what_and_its_own_reason(shape: str, tmp_path: Path) -> None:
    shutil.copytree(PASSAGES / shape, tmp_path / "journal")
    records = list(journalled(tmp_path, "worker-*"))
    ended = [record for record in records if record["event.action"] == "request.completed"]
    assert [
        (each["user.name"], each.get("sekisho.app.id"), each["url.path"], each.get("sekisho.reason")) for each in ended
    ] == [
        ("tanaka", "docs", "/people/~40f39365595255d91325954c/34", None),
        ("tanaka", "docs", "/多い/socket", "user_disabled"),
        ("tanaka", None, "/apps", "control_unavailable"),
    ]
    assert [record["seq"] for record in records] == [1, 2, 3, 4, 5, 6]
