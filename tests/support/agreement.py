"""Whether the app's own list of requests and the journals agree, both ways (promise P2).

Each request that the app saw has a decision `forward`, with its method and path. Each decision `forward` that the app
did not see is explained: the client or the connection to the app was gone before anything was sent, or the process
was killed between the record and the sending.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})  # sent once more when a pooled connection was dead
Epoch = tuple[str, int]


@dataclass(frozen=True)
class Agreement:
    """What was compared, and all that does not fit."""

    seen: int
    decided: int
    incomplete: int  # requests whose body the app did not get as a whole
    unsent: int  # decisions that the app never heard of, each explained
    cut_short: Counter[Epoch]  # of these: by the death of the process, per epoch
    faults: tuple[str, ...]


def compare(seen: Iterable[Mapping[str, Any]], records: Iterable[Mapping[str, Any]], killed: set[Epoch]) -> Agreement:
    """Compare the app's list with the workers' records; `killed` are the epochs that ended by SIGKILL."""
    lines: dict[str, str] = {}
    times: Counter[str] = Counter()
    whole: set[str] = set()
    for said in seen:
        if "line" in said:
            lines[said["id"]] = said["line"]
            times[said["id"]] += 1
        else:
            whole.add(said["id"])
    decided: dict[str, Mapping[str, Any]] = {}
    completed: dict[str, Mapping[str, Any]] = {}
    for record in records:
        if record.get("event.action") == "request.decided" and record.get("sekisho.verdict") == "forward":
            decided[record["http.request.id"]] = record
        elif record.get("event.action") == "request.completed":
            completed[record["http.request.id"]] = record
    faults = [f"{name}: the app saw {line!r}, no decision" for name, line in lines.items() if name not in decided]
    unsent: list[str] = []
    cut_short: Counter[Epoch] = Counter()
    for name, decision in decided.items():
        end = completed.get(name)
        epoch = decision["writer"], decision["epoch"]
        if end is None and epoch not in killed:
            faults.append(f"{name}: neither a completion nor a death of {epoch}")
        if name in lines:
            faults += _fit(name, decision, end, lines[name], times[name], name in whole)
        else:
            unsent.append(name)
            if end is None:
                cut_short[epoch] += 1
            elif end.get("sekisho.upstream.first_byte_ms") is not None or end["sekisho.outcome"] == "complete":
                faults.append(f"{name}: the journal says that the app answered, the app knows nothing")
    return Agreement(
        len(lines), len(decided), len(lines.keys() - whole), len(unsent), cut_short, tuple(faults)
    )  # fmt: skip


def _fit(
    name: str, decision: Mapping[str, Any], end: Mapping[str, Any] | None, line: str, times: int, whole: bool
) -> list[str]:
    method, target, _ = line.split(" ")
    faults = []
    if (method, target.partition("?")[0]) != (decision["http.request.method"], decision["url.path"]):
        faults.append(f"{name}: the app saw {line!r}, decided was {decision['url.path']}")
    if times > (2 if method in _REPEATABLE else 1):
        faults.append(f"{name}: the app saw it {times} times")
    if end is not None and end["sekisho.outcome"] == "complete" and not whole:
        faults.append(f"{name}: recorded as complete, the app did not get its body")
    return faults


def noted(path: Path) -> list[dict[str, Any]]:
    """What the app wrote down; a last line without its end does not count."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
