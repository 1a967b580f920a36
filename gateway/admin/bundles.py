"""The command that hands out evidence: records of a case or period, with all that proves them, as the parts of files.

The lines are those of the journals, byte for byte, or nothing could be proved: keyed digests of masked values, which
other answers leave out (`unlinking`), are in them. That is why a bundle wants a reason and is a record of its own.

A child process makes the bundle (`audit.bundle.child`); policy versions and receipts are control's to give. Order: the
request is recorded, the parts go out, then `trail.exported` with number and digest is on disk, and only then the last
line goes out, without which the command line keeps no bundle. A crash between: the request's record tells of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from audit.event import Action, event, timestamp
from audit.journal import JournalUnhealthy
from gateway.admin.endpoint import Call, Justified, Reply, Stream
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.gate.reference import shown

_LINE = 8 * 1024 * 1024  # bytes: a policy version and more
_NO_SUCH_CASE, _NOT_AS_WRITTEN = 3, 7  # exit codes of the child
_RECEIPTS = 10_000  # the newest; reading them takes a fraction of a second

FilterName = Literal["user.id", "user.name", "sekisho.app.id", "sekisho.session.id", "device.id", "source.ip"]
"""Who and what a bundle may be about: fields that hold nothing which an app masks."""


class Export(Justified):
    """A case, or a period (epoch seconds, `until` exclusive) with filters (field → value) that must all match."""

    case: Annotated[str, Field(max_length=100)] = ""
    since: Annotated[float, Field(ge=0, le=1e11)] = 0.0
    until: Annotated[float, Field(ge=0, le=1e11)] = 0.0
    filters: dict[FilterName, Annotated[str, Field(max_length=500)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.case and (self.since or self.until or self.filters):
            raise ValueError("a case or a period, not both")
        if not self.case and self.since >= self.until:
            raise ValueError("a period that ends after it begins")
        return self


async def export(call: Call[Export]) -> Reply | Stream:
    """The parts of the bundle's files as NDJSON; with `dry_run` the number of records."""
    if not call.arguments.dry_run:
        return Stream(_parts(call))
    async with _child(call) as child:
        assert child.stdout is not None  # noqa: S101 (a pipe)
        answer = json.loads(await child.stdout.readline() or b"{}")
        await _ended_well(call, child)
    done = answer["done"]
    return Reply({"plan": [{"records": done["records"], "uncovered": done["uncovered"]}], "hit": done["records"]})


async def _parts(call: Call[Export]) -> AsyncGenerator[bytes]:
    async with _child(call) as child:
        assert child.stdout is not None and child.stdin is not None  # noqa: S101, PT018 (pipes)
        done: dict[str, Any] = {}
        async for line in child.stdout:
            if line.startswith(b'{"named":'):
                child.stdin.write(_given(call, json.loads(line)["named"]))
                await child.stdin.drain()
            elif line.startswith(b'{"done":'):
                done = json.loads(line)["done"]
            else:
                yield line
        await _ended_well(call, child)
        await _record(call, done)
        yield json.dumps({"done": done}).encode() + b"\n"


@asynccontextmanager
async def _child(call: Call[Export]) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The process that makes the bundle, with its job; it is gone afterwards, whatever happened."""
    paths, wanted = call.context.settings.paths, call.arguments
    about = {
        "made_at": timestamp(call.now), "made_by": call.by, "reason": wanted.reason, "ticket": wanted.ticket,
        "reference": shown(call.request_id),
    }  # fmt: skip
    selection = {"case": wanted.case, "since": wanted.since, "until": wanted.until, "filters": wanted.filters}
    job = {
        "journals": str(paths.journal), "log": str(paths.log), "key": str(paths.keys / "checkpoint.pub"),
        "selection": selection, "about": about, "count_only": wanted.dry_run,
    }  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "audit.bundle.child",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=_LINE,
    )  # fmt: skip
    try:
        assert child.stdin is not None  # noqa: S101 (a pipe)
        child.stdin.write(json.dumps(job).encode() + b"\n")
        await child.stdin.drain()
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _ended_well(call: Call[Export], child: asyncio.subprocess.Process) -> None:
    assert child.stderr is not None  # noqa: S101 (a pipe)
    said = (await child.stderr.read()).decode(errors="replace").strip().splitlines()
    code = await child.wait()
    if code == _NO_SUCH_CASE:
        raise not_found("事案", call.arguments.case)
    if code == _NOT_AS_WRITTEN:
        detail = f"記録が元のままではないため、証拠一式を作れません。sekisho audit verify で調べてください: {said[-1]}"
        raise Problem(AdminReason.TRAIL_NOT_AS_WRITTEN, detail)
    if code != 0:
        raise Problem(AdminReason.SEARCH_FAILED, f"証拠一式を作れませんでした: {said[-1] if said else '?'}")


def _given(call: Call[Export], named: dict[str, Any]) -> bytes:
    """What only control has: the policy versions that the records name, and the receipts of their time."""
    reader = call.context.reader
    versions = {name: reader.policy(name) for name in named["policies"]}
    policies = {name: version.source for name, version in versions.items() if version is not None}
    receipts: dict[str, str] = {}
    if named["first"]:
        first, last = (datetime.fromisoformat(named[name]).timestamp() for name in ("first", "last"))
        for text in reader.receipts(_RECEIPTS):
            receipt = json.loads(json.loads(text)["receipt"])
            if receipt["durable_at"] < first:
                break  # they come newest first
            if receipt["durable_at"] <= last:
                receipts[receipt["id"]] = text
    return json.dumps({"policies": policies, "receipts": receipts}).encode() + b"\n"


async def _record(call: Call[Export], done: dict[str, Any]) -> None:
    """Write down what leaves the house; raises Problem where that cannot be written."""
    wanted, operator = call.arguments, call.operator
    selection = {"since": timestamp(wanted.since), "until": timestamp(wanted.until), "filters": wanted.filters}
    fields = {
        "http.request.id": call.request_id, "user.id": operator.user.id, "user.name": operator.user.login,
        "event.outcome": "success", "sekisho.justification": wanted.reason, "sekisho.count": done["records"],
        "sekisho.export.digest": done["digest"], "sekisho.export.uncovered": sum(done["uncovered"].values()),
        "sekisho.export.selection": {"case": wanted.case} if wanted.case else selection,
    }  # fmt: skip
    try:
        await call.context.journal.record(event(Action.TRAIL_EXPORTED, call.context.clock(), fields))
    except JournalUnhealthy as error:
        detail = "書き出しを記録できないため、証拠一式は完成していません。"
        raise Problem(AdminReason.JOURNAL_UNHEALTHY, detail) from error
