r"""What one may ask of the trail, and when an event is an answer: one meaning for journals, index and Elasticsearch.

Each of them finds candidates in its own way; that an event answers is decided here alone (`agrees`), so that all give
the same answers.

Text is looked for as people read it: compatibility forms are one (full-width Ａ = A, half-width ｶﾞ = ガ: Unicode NFKC,
UAX #15) and case makes no difference (`str.casefold`). It is looked for in the values of an event, not in the names of
its fields.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from audit.event import Action

ID: Final = "event.id"


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for. Times are seconds since the epoch; `since` is inclusive, `until` exclusive.

    `filters` maps a dotted field to a value; a list field matches when it contains the value, and all filters must
    match; `event.id` is an answer's own, or its request's. `actions` names the acts (`event.action`) of which one must
    be the record's; empty = any. `text` is found anywhere in the values of a record, as `folded` spells both.
    """

    since: float | None = None
    until: float | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    limit: int = 100
    newest_first: bool = True
    actions: frozenset[str] = frozenset()


def query_of(job: Mapping[str, Any]) -> Query:
    """Return the query of a job, as JSON carries it to the process that answers."""
    return Query(
        since=job["since"], until=job["until"], filters=job["filters"], text=job["text"], limit=job["limit"],
        newest_first=job["order"] == "newest", actions=frozenset(job["actions"]),
    )  # fmt: skip


def folded(text: str) -> str:
    """Return `text` as searches compare it: compatibility forms made one, case taken away (UAX #15, NFKC)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def text_of(event: Mapping[str, Any]) -> str:
    """Return all values of an event as one folded text, each on a line of its own."""
    return folded("\n".join(_leaves(event)))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    elif value is not None:
        yield shown(value)


def shown(value: object) -> str:
    """Return a single value as filters spell it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def agrees(query: Query, event: Mapping[str, Any]) -> bool:
    """Whether an event is what `query` asks for by act, fields and text; times are compared elsewhere."""
    if query.actions and event.get("event.action") not in query.actions:
        return False
    if not all(_says(event, name, value) for name, value in query.filters.items()):
        return False
    return not query.text or folded(query.text) in text_of(event)


def _says(event: Mapping[str, Any], name: str, wanted: str) -> bool:
    if name == ID and event.get("event.action") == Action.REQUEST_DECIDED:
        return wanted in (event.get(ID), event.get("http.request.id"))  # by the latter a request is shipped
    found = event.get(name)
    if isinstance(found, list):
        return any(shown(item) == wanted for item in found)
    return found is not None and shown(found) == wanted


Counts = Counter[tuple[str, ...]]
"""How many events have these values of the fields that were asked for; a field that an event lacks is ""."""


def counted(events: Iterable[Mapping[str, Any]], by: Sequence[str]) -> Counts:
    """Count events by the values of these fields; one with a list counts for each of its items."""
    counts: Counts = Counter()
    for event in events:
        counts.update(product(*(_values(event.get(name)) for name in by)))
    return counts


def _values(value: object) -> list[str]:
    if isinstance(value, list):
        return list(dict.fromkeys(shown(item) for item in value)) or [""]
    return [""] if value is None else [shown(value)]


def kinds(counts: Counts, limit: int) -> Iterator[dict[str, Any]]:
    """Yield counts as rows `{"values": […], "count": n}`, most first, at most `limit`."""
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    yield from ({"values": values, "count": count} for values, count in most_first[:limit])
