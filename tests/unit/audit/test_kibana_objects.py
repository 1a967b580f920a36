"""Kibana's file: pinned, its references and columns consistent, its fields and values those of the records.

No Kibana runs here: this holds the objects to the shapes that Kibana exports, not to an import. To write the pinned
file anew: `python -m tests.unit.audit.test_kibana_objects`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from audit.dashboards import LABELS, boards
from audit.documents import Document
from audit.ecs import FIELDS
from audit.elastic.checkpoints import checkpoint_document
from audit.elastic.template import properties
from audit.event import SHAPES, Action
from audit.kibana import DATA_VIEW, NOT, WIDTH, Panel, Search, Shape, fields_of, kql, layout, ndjson
from policies.reasons import Reason

GOLDEN = Path(__file__).parents[2] / "golden" / "elasticsearch" / "dashboards.ndjson"
BOARDS = boards(["juki", "zeimu"])
ITEMS = [item for board in BOARDS for item in board.items]
OBJECTS: list[dict[str, Any]] = [json.loads(line) for line in ndjson(BOARDS, LABELS).splitlines()]
BY_KEY = {(each["type"], each["id"]): each for each in OBJECTS}
CHECKPOINT: Document = checkpoint_document("origin\n1\nroot\n\n", 0.0)


def of_type(kind: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["type"] == kind]


def test_the_file_is_the_pinned_one() -> None:
    same = GOLDEN.read_bytes() == ndjson(BOARDS, LABELS)
    assert same, "if that is meant: python -m tests.unit.audit.test_kibana_objects"


def test_every_object_has_what_an_import_needs_and_an_id_of_its_own() -> None:
    assert len(BY_KEY) == len(OBJECTS) > 60
    assert Counter(each["type"] for each in OBJECTS)["dashboard"] == 10
    for each in OBJECTS:
        assert each["id"].startswith("sekisho-")
        assert re.search(r"[ぁ-んァ-ヶ一-龠]", each["attributes"]["title"] + each["attributes"].get("name", ""))
        assert (each["coreMigrationVersion"], each["typeMigrationVersion"]) <= ("8.8.0", "8.8.0")


def test_every_reference_leads_to_an_object_of_the_file() -> None:
    for each in OBJECTS:
        for reference in each["references"]:
            assert (reference["type"], reference["id"]) in BY_KEY, each["id"]
        if each["type"] != "index-pattern":
            assert each["references"]


@pytest.mark.parametrize("lens", of_type("lens"), ids=lambda each: each["id"])
def test_a_lens_panel_is_consistent(lens: dict[str, Any]) -> None:
    state = lens["attributes"]["state"]
    ((layer_id, layer),) = state["datasourceStates"]["formBased"]["layers"].items()
    assert lens["references"] == [
        {"name": f"indexpattern-datasource-layer-{layer_id}", "type": "index-pattern", "id": DATA_VIEW}
    ]
    columns, picture = layer["columns"], state["visualization"]
    assert sorted(layer["columnOrder"]) == sorted(columns)
    bucketed = [columns[name]["isBucketed"] for name in layer["columnOrder"]]
    assert bucketed == sorted(bucketed, reverse=True)  # buckets come before measures
    for column in columns.values():
        assert column["sourceField"] in FIELDS or column["sourceField"] in {"___records___", "sekisho.journal.writer"}
        if column["operationType"] == "terms":
            assert column["params"]["orderBy"]["columnId"] in columns
    match lens["attributes"]["visualizationType"]:
        case "lnsMetric":
            assert picture["metricAccessor"] in columns
        case "lnsDatatable":
            assert [row["columnId"] for row in picture["columns"]] == layer["columnOrder"]
        case "lnsXY":
            (drawn,) = picture["layers"]
            used = {*drawn["accessors"], drawn["xAccessor"], drawn.get("splitAccessor", drawn["xAccessor"])}
            assert used == set(columns)
            assert columns[drawn["xAccessor"]]["operationType"] == "date_histogram"
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize(
    "board", [each for each in OBJECTS if each["type"] == "dashboard"], ids=lambda each: each["id"]
)
def test_a_dashboard_is_consistent(board: dict[str, Any]) -> None:
    attributes = board["attributes"]
    panels = json.loads(attributes["panelsJSON"])
    assert json.loads(attributes["optionsJSON"])["useMargins"]
    names = {reference["name"] for reference in board["references"]}
    for panel in panels:
        assert f"{panel['panelIndex']}:{panel['panelRefName']}" in names
        assert panel["gridData"]["i"] == panel["panelIndex"]
        assert panel["gridData"]["x"] + panel["gridData"]["w"] <= WIDTH
    group = attributes.get("controlGroupInput")
    for name, control in json.loads(group["panelsJSON"]).items() if group else ():
        assert control["explicitInput"]["id"] == name
        assert control["explicitInput"]["fieldName"] in FIELDS
        assert f"controlGroup_{name}:optionsListDataView" in names


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.id)
def test_no_two_panels_lie_on_each_other(board: Any) -> None:
    cells = Counter(
        (x, y)
        for place in layout(board.items)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert set(cells.values()) == {1}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_every_field_and_value_is_one_of_the_records(item: Panel | Search) -> None:
    known = {**FIELDS, "sekisho.journal.writer": "keyword"}
    assert fields_of(item) <= known.keys()
    assert fields_of(item) - {"event.id"} <= LABELS.keys()
    acts = {*(action.value for action in Action), CHECKPOINT.body["event.action"]}
    assert set(item.where.get("event.action", ())) <= acts
    assert set(item.where.get("sekisho.reason", ())) <= {reason.value for reason in Reason}
    if isinstance(item, Panel):
        texts = {name for name, kind in FIELDS.items() if kind in ("text", "object")}
        assert not texts & {*item.by, item.measured}  # nothing can be counted by those
        assert item.shape is Shape.TABLE or len(item.by) <= 1


def test_the_acts_of_a_panel_are_of_streams_that_exist() -> None:
    tree = properties()
    assert {"event", "sekisho", "user"} <= tree.keys()
    asked = {act for item in ITEMS for act in item.where.get("event.action", ())} - {"checkpoint.signed"}
    assert {SHAPES[Action(act)].dataset for act in asked} == {
        f"sekisho.{name}" for name in ("access", "auth", "session", "admin", "posture", "anomaly", "health")
    }


@pytest.mark.parametrize(
    ("where", "query"),
    [
        ({"user.name": []}, "user.name : *"),
        ({"user.name": ["sato"]}, 'user.name : "sato"'),
        ({"user.name": ['a"b', "c"], "rule.id": ["x"]}, 'user.name : ("a\\"b" or "c") and rule.id : "x"'),
        ({f"{NOT}event.id": ["*.open"]}, "not event.id : *.open"),
    ],
)
def test_the_query_language(where: dict[str, list[str]], query: str) -> None:
    assert kql(where) == query


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_bytes(ndjson(BOARDS, LABELS))
