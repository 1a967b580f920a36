"""Every panel's question asked of a real server: it is allowed by the mapping, and finds the record made for it.

Lens turns a panel into just such a search. No Kibana runs here; what cannot be shown without one is how it looks.
"""

from __future__ import annotations

from typing import Any

import pytest

from audit.dashboards import boards
from audit.documents import Document
from audit.ecs import FIELDS
from audit.elastic.checkpoints import checkpoint_document
from audit.event import SHAPES, Action, event
from audit.kibana import NOT, TIME, Measure, Panel, Search, Shape
from cli.tour.elasticsearch import Node
from tests.support.elasticsearch_node import elasticsearch_node
from tests.system.test_elasticsearch_shipping import call, prepared
from tests.system.test_templates_accepted import sample

__all__ = ["elasticsearch_node", "prepared"]
pytestmark = pytest.mark.timeout(600)
NOW = 1_790_000_000.0
ITEMS: list[Panel | Search] = [item for board in boards(["juki", "zeimu"]) for item in board.items]


def made_for(item: Panel | Search) -> Document:
    """A record that an item should find."""
    act = str(item.where.get("event.action", [Action.REQUEST_DECIDED])[0])
    if act == "checkpoint.signed":
        return Document(item.id, "health", checkpoint_document("origin\n7\nroot\n\n", NOW).body)
    shape = SHAPES[Action(act)]
    wanted = {name: values[0] if values else None for name, values in item.where.items() if not name.startswith(NOT)}
    if isinstance(item, Panel):
        wanted |= {name: wanted.get(name) for name in (*item.by, item.measured) if name and name != TIME}
    fields = {
        name: [value] if value is not None and FIELDS.get(name, "").endswith("[]") else value
        for name, value in wanted.items()
        if name != "event.action"
    }
    fields |= {name: sample(FIELDS.get(name, "keyword")) for name, value in fields.items() if value is None}
    return Document(
        item.id, shape.dataset.removeprefix("sekisho."), {**event(Action(act), NOW, fields), "event.id": item.id}
    )


def question(item: Panel | Search) -> dict[str, Any]:
    """The search that an item stands for."""
    must = [{"terms": {name: list(map(str, values))}} if values else {"exists": {"field": name}}
            for name, values in item.where.items() if not name.startswith(NOT)]  # fmt: skip
    none = [{"wildcard": {name.removeprefix(NOT): values[0]}} for name, values in item.where.items()
            if name.startswith(NOT)]  # fmt: skip
    query: dict[str, Any] = {"query": {"bool": {"filter": must, "must_not": none}}, "size": 1}
    if isinstance(item, Search):
        return {**query, "sort": [{TIME: "desc"}]}
    kinds = {Measure.DIFFERENT: "cardinality", Measure.LATEST: "max", Measure.SUM: "sum"}
    aggregation: dict[str, Any] = {}
    if item.measure is not Measure.COUNT:
        aggregation = {"measure": {kinds[item.measure]: {"field": item.measured}}}
    if item.shape is Shape.OVER_TIME:
        inner = {"aggs": aggregation} if aggregation else {}
        histogram = {"field": TIME, "fixed_interval": "1h", "time_zone": "Asia/Tokyo", "min_doc_count": 1}
        aggregation = {"moment": {"date_histogram": histogram, **inner}}
    for name in reversed(item.by):
        inner = {"aggs": aggregation} if aggregation else {}
        aggregation = {name: {"terms": {"field": name, "size": item.rows}, **inner}}
    return {**query, "aggs": aggregation} if aggregation else query


def buckets(answer: dict[str, Any], item: Panel) -> None:
    """Follow the panel's columns down to one value."""
    level = answer["aggregations"]
    for name in (*item.by, *(["moment"] if item.shape is Shape.OVER_TIME else [])):
        assert level[name]["buckets"], name
        level = level[name]["buckets"][0]
    if item.measure is not Measure.COUNT:
        assert level["measure"]["value"] > 0


def test_each_question_finds_its_record(prepared: Node) -> None:
    for item in ITEMS:
        document = made_for(item)
        call(prepared, "POST", f"/logs-sekisho.{document.dataset}-boards/_create/{document.id}", document.body, 201)
    call(prepared, "POST", "/logs-sekisho.*-boards/_refresh")
    for item in ITEMS:
        answer = call(prepared, "POST", "/logs-sekisho.*-boards/_search", question(item))
        assert answer["_shards"]["failed"] == 0, item.id
        assert answer["hits"]["total"]["value"] > 0, item.id
        if isinstance(item, Panel) and "aggregations" in answer:
            buckets(answer, item)
