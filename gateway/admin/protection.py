"""What stands around every command: the fields of every answer, and a problem (RFC 9457) for whatever is no command.

The answers hold personal data and receipts and are for one reader: kept by nobody, guessed at by nobody, and silent on
the library that sends them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from audit.event import text
from audit.journal import JournalUnhealthy
from gateway.admin.problem import AdminReason, Problem
from gateway.admin.trail import Trail
from gateway.gate.reference import new_reference, shown
from gateway.gate.retry_after import retry_after
from gateway.identity.context import ControlContext
from policies.reasons import Reason

UNKNOWN: Final = "unknown"
"""The command on record of a request that is none."""

UNHEALTHY: Final = "記録を書き込めないため、何も実行していません。sekisho status で状態を確認してください。"
CHALLENGE: Final = 'Bearer realm="sekisho"'  # RFC 9110 §11.6.1, RFC 6750 §3
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LONGEST = 200  # characters of an address that are recorded
_NO_SUCH = "この住所に操作はありません。sekisho の版を確かめてください。"
_NO_REQUEST = "HTTP/1.1 の要求として読めません。sekisho の版を確かめてください。"
_BROKE = "関所の内部の誤りです。受付番号を添えて管理者に知らせてください。"
_NOT_SO = "この住所の操作は別のメソッドです。"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def dress(_: web.Request, response: web.StreamResponse) -> None:
    """Put the fields of every answer on it, streams included; take away what aiohttp says of itself."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


def explaining(context: ControlContext) -> Middleware:
    """Return what refuses, on record, every request that no command takes."""

    @web.middleware
    async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as fault:
            problem = Problem(Reason.METHOD_NOT_ALLOWED.value, _NOT_SO, status=405)
            return await _refused(context, request, problem, Allow=fault.headers["Allow"])
        except web.HTTPException as fault:
            reason = AdminReason.NOT_FOUND if fault.status == 404 else Reason.MALFORMED_REQUEST.value
            return await _refused(context, request, Problem(reason, _NO_SUCH, status=fault.status))

    return explain


def unread(context: ControlContext, socket: str) -> Callable[[int], Awaitable[web.Response]]:
    """Return what refuses, on record, bytes on this socket that are no request at all, by about the given status."""

    async def refuse(status: int) -> web.Response:
        problem = (
            Problem(Reason.MALFORMED_REQUEST.value, _NO_REQUEST, status=status) if status < 500
            else Problem(AdminReason.INTERNAL_ERROR, _BROKE)
        )  # fmt: skip
        response = await _on_record(context, {"socket": socket}, problem)
        response.headers.update(HEADERS)
        return response

    return refuse


async def _refused(context: ControlContext, request: web.Request, problem: Problem, **headers: str) -> web.Response:
    asked = {"method": text(request.method[:_LONGEST]), "path": text(request.path[:_LONGEST])}
    response = await _on_record(context, asked, problem)
    response.headers.update(headers)
    return response


async def _on_record(context: ControlContext, asked: dict[str, str], problem: Problem) -> web.Response:
    trail = Trail(context, UNKNOWN, new_reference(context.clock()))
    trail.arguments = dict(asked)
    try:
        await trail.refused(problem.reason)
    except JournalUnhealthy:
        problem = Problem(AdminReason.JOURNAL_UNHEALTHY, UNHEALTHY)
    return answered(problem, trail.request_id)


def answered(problem: Problem, request_id: str) -> web.Response:
    """Return a problem as it travels, with what its status has to bring along (RFC 9110 §15)."""
    response = web.json_response(problem.body(shown(request_id)), status=problem.status, dumps=compact)
    response.content_type = "application/problem+json"
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    if problem.status == 503:
        response.headers["Retry-After"] = str(retry_after(0.0, request_id))
    return response


def compact(value: object) -> str:
    """Return a value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
