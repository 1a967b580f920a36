"""Commands about the copy in Elasticsearch. Whatever speaks to the cluster runs in a child process."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from audit.dead_letters import Letter, letters
from gateway.admin.endpoint import Arguments, Call, Change, Listing, Reply, listed
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.admin.unlinking import unlinked
from gateway.identity.context import ControlContext

_PATIENCE = 120.0  # seconds for one errand
FRESH = 10.0  # seconds after which the status says that nobody writes it


class Administrator(Arguments):
    """The cluster's administrator, for what our own keys cannot do."""

    user: Annotated[str, Field(max_length=200)] = ""
    password: SecretStr = SecretStr("")
    retention: Annotated[str, Field(pattern=r"^(|[1-9][0-9]{0,4}d)$")] = ""
    lifecycle: Literal["stream", "ilm"] = "stream"


class Bootstrap(Administrator, Change):
    """Put templates, make keys where there are none."""


class OneLetter(Arguments):
    """A dead letter by its document's id."""

    letter: str


class Retry(Change):
    """Send dead letters again, all of them where none is named."""

    documents: Annotated[list[str], Field(max_length=1000)] = Field(default_factory=list)


async def status(call: Call[Arguments]) -> Reply:
    """How far the copy is behind, what it met, and what lies aside."""
    return Reply(shipping(call), rows=1)


def shipping(call: Call[Any]) -> dict[str, Any]:
    """Return what the auditor tells of the way to Elasticsearch."""
    settings = call.context.settings
    if settings.elasticsearch is None:
        return {"configured": False}
    told: dict[str, Any] = {"configured": True, "url": str(settings.elasticsearch.url), "running": False}
    try:
        told |= json.loads((settings.auditor_state / "elastic" / "status.json").read_bytes())
    except FileNotFoundError:
        return told
    told["age"] = max(0.0, call.now - float(told.pop("at")))
    told["running"] = told["age"] <= FRESH
    told["dead_letters"] = len(letters(settings.auditor_state / "elastic"))
    told["checkpoint"] = _signed_size(settings.paths.log / "checkpoint")
    return told


async def bootstrap(call: Call[Bootstrap]) -> Reply:
    """Prepare the cluster; a dry run answers with every call that would be sent."""
    wanted = call.arguments
    if not wanted.dry_run and not wanted.user:
        raise Problem(AdminReason.INVALID_ARGUMENTS, "管理者の名前とパスワードが必要です (--admin-user)。")
    answer = await _errand(call, "bootstrap", _administrator(wanted) | {"dry_run": wanted.dry_run})
    if wanted.dry_run:
        return Reply({"plan": answer["steps"], "hit": len(answer["steps"]), "keys": answer["keys"]})
    return Reply(answer, rows=1)


async def check(call: Call[Administrator]) -> Reply:
    """Whether templates, keys and streams are as they should be."""
    answer = await _errand(call, "check", _administrator(call.arguments))
    return Reply(answer, rows=len(answer["items"]))


async def letters_ls(call: Call[Listing]) -> Reply:
    """Documents that the cluster would not take."""
    return listed([_row(letter) for letter in _letters(call)], call.arguments.limit)


async def letters_show(call: Call[OneLetter]) -> Reply:
    """One of them, whole."""
    for letter in _letters(call):
        if letter.id == call.arguments.letter:
            return Reply(unlinked(asdict(letter)), rows=1)
    raise not_found("届かなかった記録", call.arguments.letter)


async def letters_retry(call: Call[Retry]) -> Reply:
    """Send them again."""
    wanted = set(call.arguments.documents)
    chosen = [letter for letter in _letters(call) if not wanted or letter.id in wanted]
    if call.arguments.dry_run:
        return Reply({"plan": [_row(letter) for letter in chosen], "hit": len(chosen)}, rows=len(chosen))
    answer = await _errand(call, "retry", {"ids": sorted(wanted)})
    return Reply(answer, rows=len(answer["stored"]))


def _signed_size(path: Path) -> int:
    """Return how many records the latest checkpoint covers, 0 where there is none."""
    try:
        return int(path.read_text(encoding="utf-8").split("\n")[1])
    except (FileNotFoundError, IndexError, ValueError):
        return 0


def _row(letter: Letter) -> dict[str, Any]:
    return {name: value for name, value in asdict(letter).items() if name != "body"}


def _letters(call: Call[Any]) -> list[Letter]:
    return letters(call.context.settings.auditor_state / "elastic")


def _administrator(given: Administrator) -> dict[str, Any]:
    return {
        "user": given.user, "password": given.password.get_secret_value(), "retention": given.retention,
        "lifecycle": given.lifecycle,
    }  # fmt: skip


def job_of(call: Call[Any]) -> dict[str, Any]:
    """Return what every errand at the cluster needs to know; raises Problem where none is configured."""
    return cluster_job(call.context)


def cluster_job(context: ControlContext) -> dict[str, Any]:
    """Return where the cluster is; raises Problem where none is configured."""
    settings = context.settings
    cluster = settings.elasticsearch
    if cluster is None:
        raise Problem(AdminReason.CONFLICT, "設定に [elasticsearch] がありません。")
    return {
        "url": str(cluster.url), "ca": str(cluster.ca) if cluster.ca else "",
        "namespace": cluster.namespace, "write_key_file": str(cluster.write_key_file),
        "read_key_file": str(cluster.read_key_file), "folder": str(settings.auditor_state / "elastic"),
    }  # fmt: skip


async def _errand(call: Call[Any], operation: str, more: dict[str, Any]) -> dict[str, Any]:
    """Have a child process speak to the cluster; raises Problem with what it said."""
    job = {"op": operation, **job_of(call), **more}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "audit.elastic.setup",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_PATIENCE):
            out, fault = await child.communicate(json.dumps(job).encode())
    except TimeoutError:
        raise Problem(AdminReason.SEARCH_FAILED, "Elasticsearch が応答しません。", status=503) from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        said = fault.decode(errors="replace").strip().splitlines()
        raise Problem(AdminReason.SEARCH_FAILED, f"Elasticsearch: {said[-1] if said else '?'}", status=502)
    answer: dict[str, Any] = json.loads(out)
    return answer
