"""What is kept about witnessing, to be read: on the log's side how each witness stands, on a witness's what it saw.

Reading only, and without the locks of those who write: a file is there whole or not (`audit.durable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

STATUS: Final = "witnesses.json"
"""The file in the auditor's state folder that says how each witness stands."""


class State(StrEnum):
    """How a witness stands towards our log."""

    WAITING = "waiting"  # not asked yet
    COSIGNING = "cosigning"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"  # it does not know our log, or not the key that signs now
    DECLINING = "declining"  # any other refusal
    FALSE = "false_signature"  # what it signed is not our checkpoint, or not with its key
    ROLLED_BACK = "rolled_back"  # it has seen a larger tree than we have
    FORKED = "forked"  # what it saw is not the start of our tree


ALARMING: Final = frozenset({State.FALSE, State.ROLLED_BACK, State.FORKED})
"""The states that mean that somebody changed something, not that something is down."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One witness: its state since when and why, the largest tree that it cosigned for us, and when. Epoch seconds."""

    name: str
    url: str
    state: State = State.WAITING
    since: float = 0.0
    detail: str = ""
    size: int = 0
    time: int = 0


def encode_standings(standings: Sequence[Standing]) -> bytes:
    """Return the status file's content."""
    return orjson.dumps([asdict(standing) for standing in standings])


def standings(state: Path) -> list[Standing]:
    """Return how the witnesses stand, from the auditor's state folder; empty where none is asked.

    Raises ValueError for a file that the auditor did not write.
    """
    path = state / STATUS
    try:
        rows = orjson.loads(path.read_bytes())
        return [Standing(**{**row, "state": State(row["state"])}) for row in rows]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error!r}: expected what the auditor wrote") from error


def remembered(folder: Path) -> list[dict[str, Any]]:
    """Return what a witness remembers under its folder: of each log the largest tree and what contradicted it.

    Raises FileNotFoundError where the folder is none, ValueError for a file that no witness wrote.
    """
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    rows = []
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith(".findings.json"):
            continue
        row = orjson.loads(path.read_bytes())
        findings = path.with_name(f"{path.stem}.findings.json")
        found = orjson.loads(findings.read_bytes()) if findings.exists() else {}
        rows.append({
            "origin": row["origin"], "size": row["size"], "root": row["root"], "time": row["time"], "note": row["note"],
            "findings": {kind: each["count"] for kind, each in found.items()},
            "last_finding": max((each["last"]["at"] for each in found.values()), default=None),
        })  # fmt: skip
    return rows
