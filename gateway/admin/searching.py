"""Searches of the trail run in a short-lived child process: a long search never stalls sign-in or revocation.

The child reads one request on its standard input and writes NDJSON; it ends when its input closes, so it cannot
outlive the search even where control dies.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.admin.elastic import cluster_job
from gateway.admin.problem import AdminReason, Problem
from gateway.admin.unlinking import DIGESTS, unlinked_line
from gateway.identity.context import ControlContext

_LINE = 4 * 1024 * 1024  # bytes: a record is far smaller

FieldName = Annotated[str, Field(pattern=r"^[@A-Za-z][A-Za-z0-9_.]{0,79}$")]


Source = Literal["index", "journals", "elasticsearch"]
"""Who answers: the embedded index with the journals' tail, the journals alone (slower), the copy in Elasticsearch."""


class Request(BaseModel):
    """One search. Times are epoch seconds; all `filters` (field → value) must match, and one of `actions`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: float | None = None
    until: float | None = None
    filters: dict[FieldName, Annotated[str, Field(max_length=500)]] = Field(default_factory=dict)
    text: Annotated[str, Field(max_length=200)] = ""
    actions: Annotated[tuple[Annotated[str, Field(max_length=50)], ...], Field(max_length=50)] = ()
    limit: Annotated[int, Field(ge=1, le=100_000)] = 100
    order: Literal["newest", "oldest"] = "newest"
    source: Source = "index"


class Count(Request):
    """A search of which only the numbers are wanted, by the values of some fields; `limit` is of the kinds told."""

    by: Annotated[tuple[FieldName, ...], Field(max_length=4)] = ()

    @field_validator("by")
    @classmethod
    def _tells_no_digests(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if hidden := sorted(name for name in names if name in DIGESTS):
            raise ValueError(f"by: got {', '.join(hidden)}, expected fields that are no digests (audit reveal)")
        return names


async def lines(
    context: ControlContext, request: Request, *, follow: bool, linked: bool = False
) -> AsyncGenerator[bytes]:
    """Records of the trail as NDJSON lines; with `follow` also those still to come. Raises Problem search_failed.

    Without digests, but where `linked`.
    """
    program, job = ("gateway.admin.search_child", _places(context)) if follow else _asked_of(context, request.source)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", program,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=_LINE,
    )  # fmt: skip
    try:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None  # noqa: S101, PT018
        child.stdin.write(json.dumps(job | request.model_dump()).encode() + b"\n")
        await child.stdin.drain()
        async for line in child.stdout:
            yield line if linked else unlinked_line(line)
        fault = (await child.stderr.read()).decode(errors="replace").strip()
        if await child.wait() != 0:
            last = fault.splitlines()[-1] if fault else "?"
            raise Problem(AdminReason.SEARCH_FAILED, f"検索できませんでした: {last}")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _places(context: ControlContext) -> dict[str, str]:
    return {
        "journals": str(context.settings.paths.journal), "index": str(context.settings.auditor_state / "index"),
    }  # fmt: skip


def _asked_of(context: ControlContext, source: Source) -> tuple[str, dict[str, str]]:
    """The module whose process answers, and what it has to know; raises Problem where there is no cluster."""
    if source == "elasticsearch":
        return "audit.elastic.asking", cluster_job(context)
    places = _places(context)
    return "audit.index.query", places if source == "index" else places | {"index": ""}


async def records(context: ControlContext, request: Request, *, linked: bool = False) -> list[dict[str, Any]]:
    """The records of a bounded search, parsed."""
    return [json.loads(line) async for line in lines(context, request, follow=False, linked=linked)]
