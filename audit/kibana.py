"""Kibana's saved objects for dashboards, panels and searches, as one NDJSON to import (Kibana 8.8 and later).

Pure. The shapes are those that Kibana itself exports: a data view (`index-pattern`), Lens panels (`lens`, data source
`formBased`), saved searches (`search`) and dashboards that refer to them by id, so that importing again replaces what
is there. What they say is `audit.dashboards`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from audit.ecs import FIELDS

DATA_VIEW: Final = "sekisho-data-view"
PATTERN: Final = "logs-sekisho.*-*"
NOT: Final = "not "
TIME: Final = "@timestamp"
WIDTH: Final = 48  # columns of a dashboard's grid
_CORE: Final = "8.8.0"
_LAYER: Final = "layer1"
_MEASURE: Final = "measure"
_MOMENT: Final = "moment"
_DATA_TYPES: Final[Mapping[str, str]] = {
    "keyword": "string", "long": "number", "float": "number", "boolean": "boolean", "ip": "ip", "date": "date",
}  # fmt: skip

Where = Mapping[str, Sequence[str]]
"""Field → values of which it has one; no values = it is there. All fields must hold.

`not FIELD` with one pattern = the field is nothing of the kind.
"""


class Shape(StrEnum):
    """How a panel looks."""

    NUMBER = "number"
    OVER_TIME = "over_time"
    TABLE = "table"


class Measure(StrEnum):
    """What a panel counts or takes of its field."""

    COUNT = "count"
    DIFFERENT = "unique_count"
    LATEST = "max"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class Panel:
    """One question: which documents, by what, and what of them. `measured` names the field of all but COUNT."""

    id: str
    title: str
    where: Where
    by: tuple[str, ...] = ()
    shape: Shape = Shape.TABLE
    measure: Measure = Measure.COUNT
    measured: str = ""
    label: str = "件数"
    rows: int = 10
    interval: str = "auto"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in the grid."""
        return {Shape.NUMBER: (8, 6), Shape.OVER_TIME: (WIDTH, 11), Shape.TABLE: (WIDTH // 2, 13)}[self.shape]


@dataclass(frozen=True, slots=True)
class Search:
    """One list of records, newest first."""

    id: str
    title: str
    where: Where
    columns: tuple[str, ...]
    description: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in the grid."""
        return WIDTH, 16


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `controls` are fields (with a title) of which a person chooses values at its top."""

    id: str
    title: str
    description: str
    items: tuple[Panel | Search, ...]
    since: str = "now-7d"
    controls: tuple[tuple[str, str], ...] = ()


def ndjson(boards: Sequence[Board], labels: Mapping[str, str]) -> bytes:
    """Return the file to import: the data view, then panels and searches, then dashboards. `labels`: field → title."""
    objects = [_data_view(labels)]
    objects += [_saved(item, labels) for board in boards for item in board.items]
    objects += [_dashboard(board) for board in boards]
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in objects).encode()


def kql(where: Where) -> str:
    """Return the documents that are meant in Kibana's query language."""
    parts = []
    for name, values in where.items():
        if name.startswith(NOT):
            parts.append(f"{name} : {values[0]}")
            continue
        quoted = [json.dumps(value, ensure_ascii=False) for value in values]
        match quoted:
            case []:
                parts.append(f"{name} : *")
            case [one]:
                parts.append(f"{name} : {one}")
            case _:
                parts.append(f"{name} : ({' or '.join(quoted)})")
    return " and ".join(parts)


def fields_of(item: Panel | Search) -> frozenset[str]:
    """Return every field that an item looks at."""
    asked = {name.removeprefix(NOT) for name in item.where}
    if isinstance(item, Search):
        return frozenset({*asked, *item.columns})
    return frozenset({*asked, *item.by, *([item.measured] if item.measured else [])})


def _object(kind: str, name: str, version: str, attributes: dict[str, Any], references: list[Any]) -> dict[str, Any]:
    return {
        "id": name, "type": kind, "attributes": attributes, "references": references, "managed": False,
        "coreMigrationVersion": _CORE, "typeMigrationVersion": version,
    }  # fmt: skip


def _data_view(labels: Mapping[str, str]) -> dict[str, Any]:
    titles = {name: {"customLabel": title} for name, title in labels.items()}
    attributes = {
        "title": PATTERN, "name": "関所の記録", "timeFieldName": TIME, "fieldAttrs": _text(titles), "fields": "[]",
        "fieldFormatMap": "{}", "runtimeFieldMap": "{}", "sourceFilters": "[]", "typeMeta": "{}",
    }  # fmt: skip
    return _object("index-pattern", DATA_VIEW, "8.0.0", attributes, [])


def _saved(item: Panel | Search, labels: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(item, Panel):
        return _lens(item, labels)
    source = {
        "query": {"query": kql(item.where), "language": "kuery"}, "filter": [], "highlightAll": True, "version": True,
        "indexRefName": "kibanaSavedObjectMeta.searchSourceJSON.index",
    }  # fmt: skip
    attributes = {
        "title": item.title, "description": item.description, "columns": list(item.columns), "sort": [[TIME, "desc"]],
        "grid": {}, "hideChart": False, "isTextBasedQuery": False, "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
    }  # fmt: skip
    return _object("search", item.id, "8.0.0", attributes, [_view("kibanaSavedObjectMeta.searchSourceJSON.index")])


def _lens(panel: Panel, labels: Mapping[str, str]) -> dict[str, Any]:
    columns = {f"by{number}": _terms(panel, name, labels) for number, name in enumerate(panel.by)}
    if panel.shape is Shape.OVER_TIME:
        columns[_MOMENT] = {
            "label": "時刻", "customLabel": True, "dataType": "date", "operationType": "date_histogram",
            "sourceField": TIME, "isBucketed": True, "scale": "interval",
            "params": {"interval": panel.interval, "includeEmptyRows": True, "dropPartials": False},
        }  # fmt: skip
    columns[_MEASURE] = _measure(panel)
    layer = {"columns": columns, "columnOrder": list(columns), "incompleteColumns": {}, "sampling": 1}
    kind, picture = _picture(panel, list(columns))
    attributes = {
        "title": panel.title, "description": "", "visualizationType": kind,
        "state": {
            "datasourceStates": {"formBased": {"layers": {_LAYER: layer}}}, "visualization": picture,
            "query": {"query": kql(panel.where), "language": "kuery"}, "filters": [], "internalReferences": [],
            "adHocDataViews": {},
        },
    }  # fmt: skip
    return _object("lens", panel.id, "8.6.0", attributes, [_view(f"indexpattern-datasource-layer-{_LAYER}")])


def _terms(panel: Panel, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "label": labels.get(name, name), "customLabel": True, "dataType": _data_type(name), "operationType": "terms",
        "sourceField": name, "isBucketed": True, "scale": "ordinal",
        "params": {
            "size": panel.rows, "orderBy": {"type": "column", "columnId": _MEASURE}, "orderDirection": "desc",
            "otherBucket": panel.shape is Shape.OVER_TIME, "missingBucket": False, "parentFormat": {"id": "terms"},
            "include": [], "exclude": [], "includeIsRegex": False, "excludeIsRegex": False,
        },
    }  # fmt: skip


def _measure(panel: Panel) -> dict[str, Any]:
    made = {
        "label": panel.label, "customLabel": True, "dataType": "number", "operationType": panel.measure.value,
        "isBucketed": False, "scale": "ratio", "sourceField": panel.measured or "___records___", "params": {},
    }  # fmt: skip
    if panel.measure is Measure.LATEST:
        made["dataType"] = _data_type(panel.measured)
    return made


def _picture(panel: Panel, columns: list[str]) -> tuple[str, dict[str, Any]]:
    base: dict[str, Any] = {"layerId": _LAYER, "layerType": "data"}
    match panel.shape:
        case Shape.NUMBER:
            return "lnsMetric", {**base, "metricAccessor": _MEASURE}
        case Shape.TABLE:
            rows = [{"columnId": name, "isTransposed": False} for name in columns]
            return "lnsDatatable", {**base, "columns": rows, "paging": {"size": 10, "enabled": True}}
        case Shape.OVER_TIME:
            layer = {
                **base, "accessors": [_MEASURE], "position": "top", "seriesType": "bar_stacked", "showGridlines": False,
                "xAccessor": _MOMENT, **({"splitAccessor": "by0"} if panel.by else {}),
            }  # fmt: skip
            legend = {"isVisible": True, "position": "right"}
            look = {"legend": legend, "valueLabels": "hide", "preferredSeriesType": "bar_stacked", "layers": [layer]}
            return "lnsXY", look


def _dashboard(board: Board) -> dict[str, Any]:
    panels, references = [], []
    for number, (item, place) in enumerate(zip(board.items, layout(board.items), strict=True)):
        index = f"p{number}"
        kind = "lens" if isinstance(item, Panel) else "search"
        panels.append({
            "version": "8.6.0", "type": kind, "panelIndex": index, "gridData": {**place, "i": index},
            "embeddableConfig": {"enhancements": {}}, "panelRefName": f"panel_{index}",
        })  # fmt: skip
        references.append({"name": f"{index}:panel_{index}", "type": kind, "id": item.id})
    attributes: dict[str, Any] = {
        "title": board.title, "description": board.description, "hits": 0, "version": 1, "timeRestore": True,
        "timeFrom": board.since, "timeTo": "now", "refreshInterval": {"pause": True, "value": 60_000},
        "panelsJSON": _text(panels),
        "optionsJSON": _text({"useMargins": True, "syncColors": False, "hidePanelTitles": False}),
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text({"query": {"query": "", "language": "kuery"},
                                                             "filter": []})},
    }  # fmt: skip
    if board.controls:
        attributes["controlGroupInput"], more = _controls(board)
        references += more
    return _object("dashboard", board.id, "8.6.0", attributes, references)


def _controls(board: Board) -> tuple[dict[str, Any], list[Any]]:
    panels, references = {}, []
    for number, (name, title) in enumerate(board.controls):
        index = f"c{number}"
        panels[index] = {
            "type": "optionsListControl", "order": number, "grow": True, "width": "medium",
            "explicitInput": {"id": index, "fieldName": name, "title": title, "enhancements": {}},
        }  # fmt: skip
        references.append(_view(f"controlGroup_{index}:optionsListDataView"))
    ignored = dict.fromkeys(("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"), False)
    group = {
        "chainingSystem": "HIERARCHICAL", "controlStyle": "oneLine", "ignoreParentSettingsJSON": _text(ignored),
        "panelsJSON": _text(panels),
    }  # fmt: skip
    return group, references


def layout(items: Sequence[Panel | Search]) -> list[dict[str, int]]:
    """Return where each item lies: left to right, the next row below the highest of the one before."""
    places = []
    x = y = height = 0
    for item in items:
        w, h = item.size
        if x + w > WIDTH:
            x, y, height = 0, y + height, 0
        places.append({"x": x, "y": y, "w": w, "h": h})
        x, height = x + w, max(height, h)
    return places


def _data_type(name: str) -> str:
    return _DATA_TYPES[FIELDS[name].removesuffix("[]")] if name in FIELDS else "string"


def _view(name: str) -> dict[str, str]:
    return {"name": name, "type": "index-pattern", "id": DATA_VIEW}


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
