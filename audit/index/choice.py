"""What of a query the columns of the index can decide, as SQL. Pure.

`exact` says that the condition alone decides; otherwise it lets through more than the answers, never less, and each
event has to be compared (`audit.query.agrees`).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from audit.event import Action, timestamp
from audit.index.files import COLUMNS, FOLDED
from audit.query import ID, Query, folded


@dataclass(frozen=True, slots=True)
class Choice:
    """A condition for WHERE with its parameters, in order."""

    condition: str
    parameters: tuple[object, ...]
    exact: bool


def choose(query: Query) -> Choice:
    """Return what chooses the candidates of `query`."""
    conditions: list[str] = ["true"]
    parameters: list[object] = []
    exact = not query.text

    def add(condition: str, *values: object) -> None:
        conditions.append(condition)
        parameters.extend(values)

    if query.since is not None:
        add("ts >= ?", timestamp(query.since))
    if query.until is not None:
        add("ts < ?", timestamp(query.until))
    if query.actions:
        add(f'"{COLUMNS["event.action"]}" IN ({", ".join("?" * len(query.actions))})', *sorted(query.actions))
    for name, value in query.filters.items():
        if name in COLUMNS:
            add(f'"{COLUMNS[name]}" = ?', value)
        elif name == ID:
            condition, *values = _by_id(value)
            add(condition, *values)
        else:
            exact = False
            add("contains(event, ?) AND contains(event, ?)", f"{_json(name)}:", _json(value)[1:-1])
    text = folded(query.text)
    if text and _json(text)[1:-1] == text:  # else its characters are escaped in the column
        add(f"contains(coalesce({FOLDED}, lower(event)), ?)", text)
    return Choice(" AND ".join(conditions), tuple(parameters), exact)


def _by_id(value: str) -> tuple[str, ...]:
    """An event's own id, or its request's for a decision."""
    writer, _, numbers = value.partition(":")
    condition = (
        "((writer = ? AND concat(epoch, ':', seq) = ?) "
        f'OR ("{COLUMNS["http.request.id"]}" = ? AND "{COLUMNS["event.action"]}" = ?))'
    )
    return condition, writer, numbers, value, Action.REQUEST_DECIDED.value


def _json(text: str) -> str:
    return orjson.dumps(text).decode()
