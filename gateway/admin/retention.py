"""Commands about how long records are kept, and about legal holds, which keep some of them longer."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from audit import holds as hold_file
from audit.holds import Hold, HoldsUnreadable
from audit.retention import Retention, RetentionClass
from audit.segment import writers
from audit.stock import freed, stock
from gateway.admin.endpoint import Arguments, Call, Change, Listing, Reply, listed
from gateway.admin.problem import AdminReason, Problem, not_found

Kind = Literal["access", "anonymous", "administration", "system"]


class AddHold(Change):
    """Whose records are held (writers and classes together; none named = everyone's), and of which time."""

    writers: Annotated[list[str], Field(max_length=200)] = Field(default_factory=list)
    classes: Annotated[list[Kind], Field(max_length=4)] = Field(default_factory=list)
    since: float | None = None
    until: float | None = None
    case: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] = ""


class RemoveHold(Change):
    """A hold by id."""

    hold: str


async def retention(call: Call[Arguments]) -> Reply:
    """What is kept of every writer, what comes to its end next, and the holds."""
    fault = ""
    held: tuple[Hold, ...] = ()
    try:
        held = await asyncio.to_thread(hold_file.load, _journals(call))
    except HoldsUnreadable as error:
        fault = str(error)
    rows = await asyncio.to_thread(stock, _journals(call), retention_of(call), held)
    items = [asdict(row) for row in rows]
    return Reply({"items": items, "holds": [_row(each) for each in held], "fault": fault}, rows=len(items))


async def holds_ls(call: Call[Listing]) -> Reply:
    """Holds, newest first."""
    return listed([_row(each) for each in reversed(await _load(call))], call.arguments.limit)


async def holds_add(call: Call[AddHold]) -> Reply:
    """Hold records; once this is answered nothing that the hold names is deleted any more."""
    wanted = call.arguments
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise Problem(AdminReason.INVALID_ARGUMENTS, "期間の終わりは始まりより後にしてください。")
    known = await asyncio.to_thread(writers, _journals(call))
    for name in wanted.writers:
        if name not in known:
            raise not_found("記録の書き手", name)
    hold = Hold(
        id=f"H{secrets.token_hex(4)}", writers=tuple(wanted.writers),
        classes=tuple(RetentionClass(name) for name in wanted.classes), since=wanted.since, until=wanted.until,
        case=wanted.case, reason=wanted.reason, created_by=call.by, created_at=call.now,
    )  # fmt: skip
    await _load(call)
    if wanted.dry_run:
        return Reply({"plan": [_row(hold)], "hit": 1}, rows=1)
    await asyncio.to_thread(_changing, hold_file.add, _journals(call), hold)
    return Reply({"hold": _row(hold)}, rows=1, status=201)


async def holds_rm(call: Call[RemoveHold]) -> Reply:
    """Lift a hold. The plan says what can be deleted from then on."""
    wanted = call.arguments.hold
    held = await _load(call)
    if not any(each.id == wanted for each in held):
        raise not_found("保全", wanted)
    rows = await asyncio.to_thread(freed, _journals(call), retention_of(call), held, wanted, call.now)
    plan = [asdict(row) for row in rows]
    if call.arguments.dry_run:
        return Reply({"plan": plan, "hit": 1, "deletable": sum(row.records for row in rows)}, rows=len(plan))
    lifted = await asyncio.to_thread(_changing, hold_file.remove, _journals(call), wanted)
    if lifted is None:
        raise not_found("保全", wanted)
    return Reply({"hold": _row(lifted), "freed": plan}, rows=1)


def retention_of(call: Call[Any]) -> Retention:
    """How long this installation keeps records."""
    seconds = call.context.settings.retention.seconds()
    return Retention({RetentionClass(name): age for name, age in seconds.items()})


def _journals(call: Call[Any]) -> Any:
    return call.context.settings.paths.journal


def _row(hold: Hold) -> dict[str, Any]:
    return {**asdict(hold), "writers": list(hold.writers), "classes": [each.value for each in hold.classes]}


async def _load(call: Call[Any]) -> tuple[Hold, ...]:
    return await asyncio.to_thread(_changing, hold_file.load, _journals(call))


def _changing(act: Any, *arguments: Any) -> Any:
    """Work on the file of holds; one that cannot be read is an answer, not a fault of ours."""
    try:
        return act(*arguments)
    except HoldsUnreadable as error:
        raise Problem(AdminReason.CONFLICT, f"保全の一覧を読めません。記録は何も削除されません: {error}") from error
