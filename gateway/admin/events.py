"""Commands about events: search and tail for CISO and 監査; one request by its 受付番号 for the help desk too."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

from pydantic import Field

from audit.search import show as recorded
from gateway.admin.endpoint import Arguments, Call, Reply, Stream
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.admin.searching import Count, Request, lines, records
from gateway.admin.unlinking import unlinked
from gateway.gate.reference import parse_reference

_PLACE = re.compile(r"[a-z0-9.-]{1,64}:\d{1,9}:\d{1,15}")  # of a record: writer, epoch, number


class Search(Arguments, Request):
    """A search of the trail."""


class Counting(Arguments, Count):
    """A search that is only counted."""


class Tail(Arguments, Request):
    """A search that goes on."""


class OneEvent(Arguments):
    """A request by its 受付番号, or one record by the id that cases and alerts name (`writer:epoch:seq`)."""

    reference: Annotated[str, Field(max_length=100)]


async def search(call: Call[Search]) -> Stream:
    """Records as NDJSON, newest first unless asked otherwise."""
    return Stream(lines(call.context, call.arguments, follow=False))


async def count(call: Call[Counting]) -> Stream:
    """How many records there are of each kind, as NDJSON: `{"values": […], "count": n}`, most first."""
    return Stream(lines(call.context, call.arguments, follow=False))


async def tail(call: Call[Tail]) -> Stream:
    """Records as they are written."""
    return Stream(lines(call.context, call.arguments, follow=True))


async def show(call: Call[OneEvent]) -> Reply:
    """Every record of one request, or the one record."""
    if _PLACE.fullmatch(call.arguments.reference):
        places = call.context.settings.paths.journal, call.arguments.reference
        one = [unlinked(each) for each in await asyncio.to_thread(recorded, *places)]
        if not one:
            raise not_found("記録", call.arguments.reference)
        return Reply({"items": one, "total": len(one)}, rows=len(one))
    try:
        reference = parse_reference(call.arguments.reference)
    except ValueError as error:
        raise Problem(AdminReason.INVALID_ARGUMENTS, "受付番号の形式ではありません (16文字)。") from error
    found = await records(call.context, Request(filters={"http.request.id": reference}, limit=100, order="oldest"))
    if not found:
        raise not_found("記録", call.arguments.reference)
    return Reply({"items": found, "total": len(found)}, rows=len(found))
