"""docs/bounds.md names the settings there are, with the defaults they have."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.edge.services import EdgeLimits
from gateway.settings_parts.bounds import Limits, Timeouts

DOCUMENT = Path(__file__).parents[3] / "docs" / "bounds.md"
SECTIONS = {"limits": Limits, "timeouts": Timeouts}


def test_each_row_is_a_setting_with_its_default() -> None:
    rows = re.findall(r"\| `(\w+)\.(\w+)` \| ([\d.]+) (\S+) \|", DOCUMENT.read_text())
    assert len(rows) > 15
    for section, name, default, unit in rows:
        found = SECTIONS[section].model_fields[name]
        assert isinstance(found.json_schema_extra, dict)
        assert (float(default), unit) == (found.default, found.json_schema_extra["unit"]), name


def test_no_limit_on_clients_is_left_out() -> None:
    named = set(re.findall(r"`limits\.(\w+)`", DOCUMENT.read_text()))
    assert named == set(EdgeLimits.__slots__)
