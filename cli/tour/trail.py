"""Steps about the trail: every chain verifies, and a search finds what the tour did."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cli.tour.stage import Shown, Stage, require

_OF_DECISION: Final = ("user.name", "sekisho.app.id", "url.path")  # what the steps ask of a completion


def journalled(root: Path, writers: str) -> Iterator[dict[str, Any]]:
    """Read the bodies of the journal's lines with nothing but JSON: no code of the product has a part in this.

    A completion comes with who and what, which the decision of its request said before it.
    """
    decided: dict[str, dict[str, Any]] = {}
    for path in sorted((root / "journal").glob(f"{writers}/*-*")):
        if path.suffix not in (".jsonl", ".active"):
            continue  # a torn tail that was set aside
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield _with_decision(decided, json.loads(line)["body"])


def _with_decision(decided: dict[str, dict[str, Any]], record: dict[str, Any]) -> dict[str, Any]:
    action, request = record["event.action"], record.get("http.request.id", "")
    if action == "request.decided":
        decided[request] = record
    elif action == "request.completed":
        decision = decided.pop(request, {})
        return {**{name: decision[name] for name in _OF_DECISION if name in decision}, **record}
    return record


async def verifies(stage: Stage) -> Shown:
    """Every chain and the tree hold, offline."""
    begun = time.monotonic()
    rows = await stage.ask("nobody", "audit", "verify")
    spent = time.monotonic() - begun
    records = sum(row["records"] for row in rows)
    require(records > 0, "nothing was verified")
    return Shown(f"{len(rows)} の書き手の連鎖と署名を検証", f"{records} 件、{spent:.2f} s")


async def found_again(stage: Stage) -> Shown:
    """A search finds the refusals by their numbers, and each connection that the revocation ended."""
    for number in stage.references:
        rows = await stage.ask("yamamoto", "events", "show", number)
        outcomes = {row.get("event.outcome") for row in rows}
        require(rows and "failure" in outcomes, f"{number} is not found as a refusal")
    ended = await stage.ask(
        "yamamoto", "events", "search", "--since", "1h", "--user", "takahashi", "sekisho.reason=session_revoked",
        "--limit", "5000",
    )  # fmt: skip
    found = {row["http.request.id"] for row in ended if row.get("event.end")}
    written = {
        record["http.request.id"] for record in journalled(stage.root, "worker-*")
        if record.get("event.action") == "request.completed" and record.get("user.name") == "takahashi"
        and record.get("sekisho.reason") == "session_revoked"
    }  # fmt: skip
    require(found == written, f"the search found {len(found)} ends, the journals have {len(written)}")
    closed = sum(stage.receipt["closed"].values())
    require(len(found) == closed, f"the search found {len(found)} ends, the receipt has {closed}")
    return Shown("受付番号で拒否を、検索で終了した接続をすべて発見", f"拒否 {len(stage.references)}、接続 {len(found)}")
