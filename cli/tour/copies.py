"""The documents that the journals call for, and how they compare with a copy: plain JSON, none of the shipper's code.

A request is one document, `<request id>`, once its decision and its completion are there; a refusal is one at once. One
still open after half a minute is `<request id>.open`, a tunnel's progress is `<request id>.p<epoch>:<seq>`, and every
other record is `<writer>:<epoch>:<seq>`. A document's place is that of the record it begins with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_AWAITED = ("forward", "local")  # verdicts that a completion follows


@dataclass(slots=True)
class CalledFor:
    """Document id → place. `opened` are all that may have had their `.open`; `since` says when, by the same id."""

    whole: dict[str, str] = field(default_factory=dict)
    opened: dict[str, str] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)  # seconds since the epoch, of those still open

    def due(self, opened_before: float) -> dict[str, str]:
        """What a copy must hold, where requests still open since before `opened_before` must have been shown."""
        late = {name: self.opened[name] for name, since in self.since.items() if since < opened_before}
        return self.whole | late

    @property
    def allowed(self) -> dict[str, str]:
        """What a copy may hold."""
        return self.whole | self.opened


def called_for(records: Iterable[Mapping[str, Any]]) -> CalledFor:
    """Derive the documents of all records, the bodies of the journals' lines."""
    found = CalledFor()
    decided: dict[str, tuple[str, str]] = {}
    completed: dict[str, str] = {}
    for record in records:
        place = f"{record['writer']}:{record['epoch']}:{record['seq']}"
        action, request = record["event.action"], record.get("http.request.id")
        if request and action == "request.decided" and record.get("sekisho.verdict") in _AWAITED:
            decided[request] = (place, record["@timestamp"])
        elif request and action == "request.decided":
            found.whole[request] = place
        elif request and action == "request.completed":
            completed[request] = place
        elif request and action == "tunnel.progress":
            found.whole[f"{request}.p{record['epoch']}:{record['seq']}"] = place
        else:
            found.whole[place] = place
    for request, place in completed.items():
        alone = request not in decided  # its decision was deleted: the completion stands for itself
        found.whole[place if alone else request] = place if alone else decided[request][0]
    for request, (place, moment) in decided.items():
        found.opened[f"{request}.open"] = place
        if request not in completed:
            found.since[f"{request}.open"] = datetime.fromisoformat(moment).timestamp()
    return found


def differences(due: Mapping[str, str], copy: Mapping[str, Sequence[str]], allowed: Mapping[str, str]) -> list[str]:
    """Say what is missing, too much, twice or another record's; empty = the copy is right.

    `copy` holds each document's places, one for every time it is there.
    """
    missing = due.keys() - copy.keys()
    extra = copy.keys() - allowed.keys()
    twice = [name for name, places in copy.items() if len(places) > 1]
    other = [name for name, places in copy.items() if name in allowed and {allowed[name]} != set(places)]
    named = {"missing": missing, "too much": extra, "twice": twice, "of another record": other}
    return [f"{len(names)} {what} (such as {min(names)})" for what, names in named.items() if names]
