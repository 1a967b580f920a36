"""The checkpoints that were issued, one each ten minutes, so that an older state of the log can be referred to.

The log keeps only its latest `checkpoint`. Beside it `issued/<UTC day>.ndjson` grows by lines
`{"time": <seconds since the epoch>, "note": "<the checkpoint, verbatim>"}`, at most 144 a day. Nothing relies on them:
`time` is the auditor's clock and proves nothing, a note proves itself. A line that a crash cut is passed over, and the
next one begins on a line of its own; a checkpoint that was signed and not kept is covered by the next that is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from audit import durable

EVERY: Final = 600.0  # seconds between two that are kept
_FOLDER: Final = "issued"


@dataclass(frozen=True, slots=True)
class Issued:
    """One checkpoint and the auditor's clock (seconds since the epoch) when it was signed."""

    at: float
    note: str


class IssuedLog:
    """Keeps checkpoints of the log under `log`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._next = 0.0

    def keep(self, note: str, now: float) -> None:
        """Keep `note`, signed at `now`, where the last kept one is old enough; raises OSError."""
        if self._next > now >= self._next - EVERY:  # a clock that was set back keeps one at once
            return
        folder = self._log / _FOLDER
        durable.make_directory(folder)
        path = folder / time.strftime("%Y-%m-%d.ndjson", time.gmtime(now))
        cut = b"\n" if path.exists() and not path.read_bytes().endswith(b"\n") else b""
        durable.append(path, cut + orjson.dumps({"time": now, "note": note}) + b"\n")
        self._next = now + EVERY


def issued(log: Path) -> Iterator[Issued]:
    """Yield what was kept, oldest first."""
    folder = log / _FOLDER
    for path in sorted(folder.glob("*.ndjson")) if folder.is_dir() else ():
        for line in path.read_bytes().splitlines():
            found = _read(line)
            if found is not None:
                yield found


def signed_by(note: str) -> list[str]:
    """Return the key names on a note's signature lines, in their order; what they signed is not checked here."""
    return [line[2:].rpartition(" ")[0] for line in note.rpartition("\n\n")[2].split("\n") if line.startswith("— ")]


def _read(line: bytes) -> Issued | None:
    try:
        record = orjson.loads(line)
        return Issued(float(record["time"]), str(record["note"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
