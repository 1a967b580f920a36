"""What the workers' journals say of connections that a revocation ended, beside what clients and receipt say."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.revocation import Figures

_DECIDED = b'"event.action":"request.decided"'
_CUT = b'"sekisho.reason":"session_revoked"'
_PATIENCE = 60.0  # seconds: completions are written after the cut, and not waited for
_SMALL_PAGES = b'"url.path":"/page"'  # of the load; they are none of the connections


class CutRecords:
    """The records that come after this is made. Workers' names are those of their journals."""

    def __init__(self, journals: Path) -> None:
        self._journals = journals
        self._before = {path: path.stat().st_size for path in self._files()}

    def _files(self) -> list[Path]:
        return sorted(self._journals.glob("worker-?/*.active"))

    def completions(self) -> tuple[Counter[str], set[str]]:
        """How many requests were ended by a revocation, by worker, and of which sessions they were."""
        ended: Counter[str] = Counter()
        requests: set[str] = set()
        sessions: dict[str, str] = {}
        for path in self._files():
            with path.open("rb") as file:
                file.seek(self._before.get(path, 0))
                lines = [line for line in file if line.endswith(b"\n") and _SMALL_PAGES not in line]
            for record in (_body(line) for line in lines if _DECIDED in line or _CUT in line):
                if record["event.action"] == "request.decided":
                    sessions[record["http.request.id"]] = record.get("sekisho.session.id", "")
                elif record["event.action"] == "request.completed":
                    ended[path.parent.name] += 1
                    requests.add(record["http.request.id"])
        return ended, {sessions[each] for each in requests}

    async def agree_with(self, figures: Figures) -> None:
        """Each connection that the clients saw end is on record once, with the reason, by the worker that closed it."""
        until = time.monotonic() + _PATIENCE
        found = self.completions()
        while sum(found[0].values()) < figures.cut and time.monotonic() < until:
            await asyncio.sleep(0.1)  # journals have no event for readers
            found = self.completions()
        assert dict(found[0]) == figures.by_worker
        assert found[1] <= figures.sessions


def _body(line: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(line)["body"]
    return body
