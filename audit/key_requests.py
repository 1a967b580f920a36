"""What control asks of the auditor about the log's key, and what came of it: two small files in the auditor's state.

`rotate.json` is the request. It names the key that it wants replaced, so a request that was carried out and not yet
removed is not carried out again. `rotated.json` is the outcome of the latest one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from audit import durable

_REQUEST: Final = "rotate.json"
_OUTCOME: Final = "rotated.json"


@dataclass(frozen=True, slots=True)
class Request:
    """Replace the key `old` (verifier key); who asks, and why."""

    old: str
    who: str
    reason: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request: the new verifier key and the size signed last with the old one, or why not."""

    request_id: str
    new: str = ""
    size: int = 0
    fault: str = ""


def ask(state: Path, request: Request) -> None:
    """Leave a request for the auditor, durably; raises OSError."""
    durable.make_directory(state)
    durable.replace(state / _REQUEST, orjson.dumps(asdict(request)), 0o600)


def asked(state: Path) -> Request | None:
    """Return the request that waits; raises ValueError for one that is none."""
    try:
        return Request(**orjson.loads((state / _REQUEST).read_bytes()))
    except FileNotFoundError:
        return None
    except TypeError as error:
        raise ValueError(f"{state / _REQUEST}: {error}") from error


def close(state: Path, outcome: Outcome) -> None:
    """Tell the outcome and take the request away, in this order: a crash between repeats, never forgets."""
    durable.replace(state / _OUTCOME, orjson.dumps(asdict(outcome)), 0o600)
    (state / _REQUEST).unlink(missing_ok=True)
    durable.sync_directory(state)


def outcome(state: Path) -> Outcome | None:
    """Return the latest outcome."""
    try:
        return Outcome(**orjson.loads((state / _OUTCOME).read_bytes()))
    except (FileNotFoundError, TypeError, ValueError):
        return None
