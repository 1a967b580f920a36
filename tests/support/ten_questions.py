"""The ten questions of docs/questions.md, as the command line asks them, and a trail in which each has answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.event import Action, event
from audit.query import Query, query_of
from cli.call import Call
from cli.main import app

ROOT = Path(__file__).parents[2]
NOW = 1_763_784_000.0  # 2025-11-22T13:00+09:00, a Saturday
REFERENCE = "1M3250V3V9A9YSQ1"
_DEFAULTS = {"filters": {}, "text": "", "actions": [], "until": None, "order": "newest", "by": None}


@dataclass(frozen=True)
class Asked:
    """What one command asks: a query, and the fields it counts by where it counts."""

    query: Query
    by: tuple[str, ...] | None


def commands() -> list[str]:
    """Return the commands of the document's table, in order."""
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    return re.findall(r"^\| \d+ \|.*\| `sekisho (events .+?)` \|$", text, re.MULTILINE)


class Recorder:
    """Stands for the admin API; keeps what the command line asks it."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []

    def stream(self, _path: str, body: Mapping[str, Any], *, endless: bool = False) -> Iterator[dict[str, Any]]:
        """Take a search."""
        assert not endless
        self.jobs.append(_DEFAULTS | dict(body))
        return iter(())

    def get(self, path: str) -> dict[str, Any]:
        """Take a look at one reference, as control searches for it (`gateway.admin.events.show`)."""
        reference = path.rpartition("/")[2].replace("-", "")
        job = {"since": None, "filters": {"http.request.id": reference}, "limit": 100, "order": "oldest"}
        self.jobs.append(_DEFAULTS | job)
        return {"items": []}


def asked_by(command: str, patch: pytest.MonkeyPatch) -> Asked:
    """Run the command line up to the server, and return what it asks."""
    recorder = Recorder()
    patch.setattr(Call, "client", lambda _call: recorder)
    patch.setattr("time.time", lambda: NOW)
    result = CliRunner().invoke(app, shlex.split(command))
    assert result.exit_code == 0, result.output
    (job,) = recorder.jobs
    return Asked(query_of(job), None if job["by"] is None else tuple(job["by"]))


def records() -> Iterator[dict[str, Any]]:
    """Yield what a small office's gateway records over some weeks, every answer beside what is none."""
    people = ("sato", "suzuki", "takahashi")
    for number in range(240):
        ago = (240 - number) * 3 * 3600.0
        person = people[number % 3]
        refused = number % 8 == 0
        fields = {
            "http.request.id": REFERENCE if number == 200 else f"Q{number:015d}", "user.name": person,
            "user.id": f"u-{person}", "sekisho.app.id": "juki" if number % 2 else "bunsho",
            "url.path": f"/juki/{1234 + number % 5}", "device.id": f"d-{17 + number % 4}",
            "source.ip": "203.0.113.9" if number % 10 == 0 else "10.1.2.3", "http.request.method": "GET",
            "sekisho.verdict": "refuse" if refused else "forward", "event.outcome": "failure" if refused else "success",
            "sekisho.reason": "unmet_conditions" if refused else "allowed",
            "sekisho.app.business": "パスワード台帳" if number % 5 == 0 else "住民記録",
        }  # fmt: skip
        yield event(Action.REQUEST_DECIDED, NOW - ago, fields)
        if not refused:
            ended = {"http.request.id": fields["http.request.id"], "http.response.status_code": 200}
            yield event(Action.REQUEST_COMPLETED, NOW - ago + 1, ended)
        if number % 20 == 0:
            end = {"user.name": person, "sekisho.session.id": f"s{number}", "sekisho.reason": "signed_out"}
            yield event(Action.SESSION_ENDED, NOW - ago + 2, end)
            change = {"sekisho.by": "ciso", "sekisho.admin.command": "locks.add", "sekisho.justification": "紛失"}
            yield event(Action.ADMIN_REQUESTED, NOW - ago + 3, change)
