"""A request's completion beside its decision: what it leaves to it, and how the two come together.

The line of a forwarded request's completion has its request id and how it ended. Who and what stand in the decision
with the same `http.request.id`, earlier in the same writer's journal. Whoever has both records folds them here; whoever
meets a completion alone looks its decision up here. One whose decision is no longer there stands alone with its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from audit import stored
from audit.event import IMPLIED
from audit.scan import COMPLETED, RawLine, request_of
from audit.segment import segments

NAMED: Final = (
    "user.id", "user.name", "sekisho.app.id", "sekisho.session.id", "sekisho.app_session.id", "device.id", "source.ip",
    "url.domain", "sekisho.area", "http.request.method", "url.path",
)  # fmt: skip
"""The fields of a decision that say of its completion, too, who and what it is about."""

DECIDED: Final = b'"event.action":"request.decided"'
OWN: Final = b'"@timestamp":"'
"""Where the members of a decision end that many others have, too, and its own begin (`gateway.gate.instant`)."""
PROGRESSED: Final = b'"event.action":"tunnel.progress"'
_PATH: Final = b'"url.path":'  # every decision that a completion follows has one
_OWN: Final = IMPLIED | {"@timestamp", "event.action", "event.id", "v", "writer", "epoch", "seq", "prev"}


def named(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a decision that say who and what, as far as it has them."""
    return {name: decision[name] for name in NAMED if name in decision}


def leans(line: bytes) -> bool:
    """Tell from a line's bytes whether it is a completion that leaves who and what to its decision."""
    return COMPLETED in line and _PATH not in line


def joined(completion: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the completion as a record of its own, with who and what as its decision says it."""
    return {**named(decision), **completion}


def fold(decision: dict[str, Any], completion: Mapping[str, Any]) -> dict[str, Any]:
    """Make a decision's record the whole request's: add how it ended, and when (`event.end`). Returns the decision."""
    decision.update((name, value) for name, value in completion.items() if name not in _OWN)
    decision["event.end"] = completion.get("@timestamp", "")
    return decision


def decisions(root: Path, writer: str, requests: Iterable[bytes]) -> dict[bytes, RawLine]:
    """Return the decisions with these request ids that are in one writer's journal, by id.

    Reads segments from the newest back until all are found: how far depends on how long the requests were open.
    """
    wanted = {request for request in requests if request}
    found: dict[bytes, RawLine] = {}
    for segment in reversed(segments(root / writer)) if wanted else ():
        for index, line in enumerate(stored.whole(segment).split(b"\n")[:-1]):
            if DECIDED in line and (request := request_of(line)) in wanted:
                found[request] = RawLine(line + b"\n", writer, (segment.epoch, segment.first_seq + index))
                wanted.discard(request)
        if not wanted:
            break
    return found
