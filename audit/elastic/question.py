"""What of a query Elasticsearch can decide by its mapping, as query DSL. Pure.

`exact` says that the cluster alone decides; otherwise it lets through more than the answers, never less, and each event
has to be compared (`audit.query.agrees`). Documents that stand in no journal (checkpoints) are no answers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from audit.ecs import FIELDS
from audit.elastic.template import KEYWORD_BYTES
from audit.event import timestamp
from audit.query import ID, Query
from audit.scan import place_of

_WRITER, _EPOCH, _SEQ = "sekisho.journal.writer", "sekisho.journal.epoch", "sekisho.journal.seq"
_LONGEST: Final = 2**63

Clause = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A bool query's `filter`, and whether it decides alone."""

    filters: tuple[Clause, ...]
    exact: bool


def question(query: Query) -> Question:
    """Return what finds the candidates of `query`."""
    clauses: list[Clause] = [{"exists": {"field": _WRITER}}]
    exact = not query.text
    span: Mapping[str, str] = {
        bound: timestamp(time) for bound, time in (("gte", query.since), ("lt", query.until)) if time is not None
    }
    if span:
        clauses.append({"range": {"@timestamp": {**span, "format": "strict_date_optional_time"}}})
    if query.actions:
        clauses.append({"terms": {"event.action": sorted(query.actions)}})
    for name, value in query.filters.items():
        clause, decides = _by_id(value) if name == ID else _by_field(name, value)
        exact = exact and decides
        if clause is not None:
            clauses.append(clause)
    return Question(tuple(clauses), exact)


def order(query: Query) -> list[Clause]:
    """Return the sort of answers: by time, then by writer and number, as all searches give them."""
    newest = query.newest_first
    near, far = ("desc", "asc") if newest else ("asc", "desc")
    return [{"@timestamp": {"order": near, "format": "strict_date_time"}}, {_WRITER: far}, {_EPOCH: near}, {_SEQ: near}]


def _by_field(name: str, value: str) -> tuple[Clause | None, bool]:
    kind = FIELDS.get(name, "object").removesuffix("[]")
    if kind == "keyword" and len(value) < KEYWORD_BYTES:
        return {"term": {name: value}}, True
    if kind == "ip":
        return ({"term": {name: value}}, True) if _is_address(value) else ({"match_none": {}}, True)
    if kind == "long":
        known = value.removeprefix("-").isdecimal() and -_LONGEST <= int(value) < _LONGEST and str(int(value)) == value
        return ({"term": {name: int(value)}}, True) if known else ({"match_none": {}}, True)
    if kind == "boolean":
        return ({"term": {name: value == "true"}} if value in ("true", "false") else {"match_none": {}}), True
    return ({"exists": {"field": name}} if kind in ("text", "float", "date") else None), False


def _is_address(value: str) -> bool:
    try:
        return str(ipaddress.ip_address(value)) == value
    except ValueError:
        return False


def _by_id(value: str) -> tuple[Clause, bool]:
    """An event's own id, or its request's for a decision; by the latter progress comes along, which is no answer."""
    wanted: list[Clause] = [{"term": {"http.request.id": value}}]
    place = place_of(value)
    if place is not None and max(place[1]) < _LONGEST:
        at = ((_WRITER, place[0]), (_EPOCH, place[1][0]), (_SEQ, place[1][1]))
        wanted.append({"bool": {"filter": [{"term": {name: part}} for name, part in at]}})
    return {"bool": {"should": wanted, "minimum_should_match": 1}}, False
