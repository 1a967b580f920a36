"""Comparing the copy in Elasticsearch with the journals: asked for by a person, done in a child process, written down.

`copy.reconciled` says who compared which period and the counts; each way in which the copy differed is a
`copy.differs` of its own, of which the auditor makes a case. Both are on record before the last line is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from pydantic import Field

from audit.event import Action, event, timestamp
from audit.journal import JournalUnhealthy
from gateway.admin.elastic import job_of
from gateway.admin.endpoint import Arguments, Call, Change, Reply, Stream
from gateway.admin.problem import AdminReason, Problem

_LINE = 4 * 1024 * 1024  # bytes
_SILENT = 10.0  # seconds after which whoever waits is told that it goes on
_HOUR = 3600
_DAY = 24 * _HOUR
Moment = Annotated[float, Field(ge=0, le=1e11)]


class Reconcile(Arguments):
    """The period to compare, in epoch seconds; it begins with the hour of `since`. Without: the last day, up to now."""

    since: Moment | None = None
    until: Moment | None = None


class Repair(Reconcile, Change):
    """Compare, and send what is missing once more."""


async def reconcile(call: Call[Reconcile]) -> Stream:
    """Compare: NDJSON of `read`, `row` and one `summary`."""
    return Stream(_lines(call, repair=False))


async def repair(call: Call[Repair]) -> Stream | Reply:
    """Compare and mend; a dry run only compares."""
    return Stream(_lines(call, repair=not call.arguments.dry_run))


async def _lines(call: Call[Any], *, repair: bool) -> AsyncGenerator[bytes]:
    settings, wanted = call.context.settings, call.arguments
    until = call.now if wanted.until is None else min(wanted.until, call.now)
    since = call.now - _DAY if wanted.since is None else wanted.since
    period = {"since": since // _HOUR * _HOUR, "until": float(int(until)), "repair": repair}
    if period["since"] >= period["until"]:
        raise Problem(AdminReason.INVALID_ARGUMENTS, "期間が空です (--since は --until より前の時刻)。")
    job = job_of(call) | period | {
        "journals": str(settings.paths.journal), "log": str(settings.paths.log),
        "public_key": str(settings.paths.keys / "checkpoint.pub"),
    }  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "audit.elastic.reconciling",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=_LINE,
    )  # fmt: skip
    try:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None  # noqa: S101, PT018
        child.stdin.write(json.dumps(job).encode() + b"\n")
        await child.stdin.drain()
        async for line in _told(child.stdout):
            if line.startswith(b'{"summary":'):
                await _record(call, period, json.loads(line)["summary"])
            yield line
        fault = (await child.stderr.read()).decode(errors="replace").strip()
        if await child.wait() != 0:
            raise Problem(AdminReason.SEARCH_FAILED, f"照合できません: {fault.splitlines()[-1] if fault else '?'}")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _told(output: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    """The child's lines; where it says nothing for long, a line that says so, lest the reader think it gone."""
    while True:
        try:
            async with asyncio.timeout(_SILENT):
                line = await output.readline()
        except TimeoutError:
            yield b'{"read":0}\n'
            continue
        if not line:
            return
        yield line


async def _record(call: Call[Any], period: dict[str, Any], summary: dict[str, Any]) -> None:
    """Write down what was compared and each way in which it differed; raises Problem where that cannot be kept."""
    user = call.operator.user
    shared = {
        "user.id": user.id, "user.name": user.login, "sekisho.by": user.login, "http.request.id": call.request_id,
        "sekisho.reconcile.since": timestamp(period["since"]), "sekisho.reconcile.until": timestamp(period["until"]),
        "sekisho.reconcile.repair": period["repair"],
    }  # fmt: skip
    counts = {f"sekisho.reconcile.{name}": count for name, count in summary["total"].items()}
    outcome = "success" if summary["equal"] or summary["mended"] else "failure"
    records = [event(Action.COPY_RECONCILED, call.now, {
        **shared, **counts, "event.outcome": outcome, "sekisho.reconcile.records": summary["records"],
    })]  # fmt: skip
    for finding in summary["findings"]:
        sent = summary["total"]["sent"] if finding["kind"] == "missing" else None
        records.append(event(Action.COPY_DIFFERS, call.now, {
            **shared, "event.outcome": "failure", "sekisho.reconcile.kind": finding["kind"],
            "sekisho.count": finding["count"], "sekisho.reconcile.names": finding["names"],
            "sekisho.reconcile.hours": finding["hours"], "sekisho.reconcile.gaps": finding["gaps"] or None,
            "sekisho.reconcile.sent": sent,
        }))  # fmt: skip
    try:
        for record in records:
            await call.context.journal.record(record)
    except JournalUnhealthy as error:
        raise Problem(AdminReason.JOURNAL_UNHEALTHY, "照合の結果を記録できませんでした。") from error
