"""The one way into every admin command: who, may they, written down, then done, then written down again.

Order (no handler runs before the third step is on disk):
1. operator token → live operator session of a person who is enabled, not locked, with a second factor;
2. role of the endpoint; arguments checked and normalised;
3. `admin.requested` is journaled; refusals of step 1 and 2 are journaled as a refused request and end here;
4. the handler acts; 5. `admin.done` with outcome and rows. An unhealthy journal refuses (503) and nothing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from audit.journal import JournalUnhealthy
from gateway.admin.asked import asked
from gateway.admin.endpoint import Arguments, Call, Endpoint, Justified, Operator, Role, Stream
from gateway.admin.expectations import expected
from gateway.admin.operator_use import OperatorUse
from gateway.admin.problem import AdminReason, Problem
from gateway.admin.protection import UNHEALTHY, answered, compact
from gateway.admin.trail import Trail
from gateway.gate.reference import new_reference, shown
from gateway.identity.context import ControlContext
from gateway.state.command import CommandRefused, StewardUnavailable
from gateway.state.records import LockTarget, Session, User

_LOG = logging.getLogger(__name__)
_LOOK_EVERY = 1.0  # seconds between looks at whether a reader of a silent stream is still there
_AAL2 = "urn:sekisho:aal2"
ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


class Guard:
    """Runs endpoints for one control process."""

    def __init__(self, context: ControlContext) -> None:
        self._context = context
        self._use = OperatorUse(context.steward)

    async def serve(self, endpoint: Endpoint[ArgumentsT], request: web.Request) -> web.StreamResponse:
        """Answer one request to `endpoint`; every outcome is an answer, never an exception to the server."""
        now = self._context.clock()
        trail = Trail(self._context, endpoint.command, new_reference(now))
        try:
            return await self._run(endpoint, request, trail, now)
        except Problem as problem:
            return await self._refused(trail, problem)
        except JournalUnhealthy:
            return answered(Problem(AdminReason.JOURNAL_UNHEALTHY, UNHEALTHY), trail.request_id)
        except StewardUnavailable:
            detail = "状態管理 (steward) が応答しません。実行されたかどうか status と一覧で確認してください。"
            return await self._refused(trail, Problem(AdminReason.STEWARD_UNAVAILABLE, detail))
        except CommandRefused as refused:
            reason = _reason_of(refused.code)
            extra = {"code": refused.code}
            return await self._refused(trail, Problem(reason, f"実行できません: {refused.message}", extra=extra))
        except Exception:  # noqa: BLE001 (logged and answered as a refusal: nothing fails open)
            _LOG.exception("admin command failed: %s %s", endpoint.command, trail.request_id)
            detail = "内部エラーです。受付番号をお知らせください。"
            return await self._refused(trail, Problem(AdminReason.INTERNAL_ERROR, detail))

    async def _run(
        self, endpoint: Endpoint[ArgumentsT], request: web.Request, trail: Trail, now: float
    ) -> web.StreamResponse:
        given = await _given(request)
        operator = await self._operator(request, now) if endpoint.roles else None
        trail.operator = operator
        if operator is not None and not operator.roles & endpoint.roles:
            names = "、".join(sorted(ROLE_NAMES[role] for role in endpoint.roles))
            raise Problem(AdminReason.NOT_PERMITTED, f"この操作には次のいずれかの役割が必要です: {names}")
        arguments = _validated(endpoint, given)
        trail.arguments = asked(arguments.recorded(), self._context.reader.apps())
        if isinstance(arguments, Justified):
            trail.justification, trail.ticket = arguments.reason, arguments.ticket
        await trail.requested()
        if operator is not None:
            self._use.note(operator.session, now)
        result = await endpoint.handler(Call(self._context, operator, arguments, trail.request_id, now))
        if isinstance(result, Stream):
            return await self._stream(request, result, trail)
        await trail.done("success", rows=result.rows)
        return web.json_response(
            {**result.data, "request_id": shown(trail.request_id)}, status=result.status, dumps=compact
        )

    async def _stream(self, request: web.Request, stream: Stream, trail: Trail) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Sekisho-Request-Id": shown(trail.request_id)})
        response.content_type = "application/x-ndjson"
        rows = 0
        outcome, reason = "failure", "aborted"
        try:
            await response.prepare(request)
            look = functools.partial(self._still_there, trail.operator)
            async with contextlib.aclosing(_while_read(request, stream.lines, look)) as lines:
                async for line in lines:
                    await response.write(line)
                    rows += 1
            outcome, reason = "success", ""
        except Problem as problem:
            # The head is gone: the last line says what went wrong, in the shape of a problem.
            reason = problem.reason
            await response.write(compact({"problem": problem.body(shown(trail.request_id))}).encode() + b"\n")
        except ConnectionError:
            reason = "reader_left"
        finally:
            await asyncio.shield(trail.done(outcome, rows=rows, reason=reason))
        if reason != "reader_left":
            await response.write_eof()
        return response

    async def _refused(self, trail: Trail, problem: Problem) -> web.Response:
        try:
            await trail.refused(problem.reason)
        except JournalUnhealthy:
            problem = Problem(AdminReason.JOURNAL_UNHEALTHY, UNHEALTHY)
        return answered(problem, trail.request_id)

    def _still_there(self, operator: Operator | None) -> None:
        """Look at the reader of a stream again: raises Problem once the token counts no more, else notes its use."""
        if operator is None:
            return
        now, session = self._context.clock(), self._context.reader.session(operator.session.id)
        if session is None or self._live(session, now) is None:
            raise Problem(AdminReason.SIGN_IN_REQUIRED, _OVER)
        self._use.note(session, now)

    async def _operator(self, request: web.Request, now: float) -> Operator:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem(AdminReason.SIGN_IN_REQUIRED, "サインインしてください (sekisho login)。")
        session = self._context.reader.session_by_token(hashlib.sha256(token.strip().encode()).hexdigest())
        if session is not None and session.expires_at <= now:
            # Our wall clock may have leapt ahead. Only the steward's time ends a session (design §5), and the operator
            # who has to accept a leap must be let in while it stands.
            now = await self._believed(now)
        user = self._live(session, now)
        if session is None or user is None:
            raise Problem(AdminReason.SIGN_IN_REQUIRED, _OVER)
        roles = frozenset(Role(name) for name in user.roles if name in Role._value2member_map_)
        return Operator(user, session, roles)

    async def _believed(self, now: float) -> float:
        """Return the steward's time where it is behind ours; ours where the steward does not answer."""
        try:
            return min(now, float((await self._context.steward.call("status"))["clock"]["now"]))
        except StewardUnavailable:
            return now

    def _live(self, session: Session | None, now: float) -> User | None:
        """The person of a live operator session, None where anything speaks against it."""
        if session is None or not session.operator or session.acr != _AAL2 or session.mfa_at is None:
            return None
        if session.ended_at is not None or session.expires_at <= now:
            return None
        user = self._context.reader.user(session.user_id)
        if user is None or user.disabled or (user.contract_end is not None and user.contract_end <= now):
            return None
        held = {(LockTarget.USER.value, user.id), (LockTarget.SESSION.value, session.id)}
        held |= {(LockTarget.GROUP.value, group) for group in user.groups}
        for lock in self._context.reader.locks():
            if (lock.target, lock.target_id) in held and (lock.expires_at is None or lock.expires_at > now):
                return None
        return user


_OVER = "サインインの期限が切れたか、終了しています (sekisho login)。"
ROLE_NAMES: Mapping[Role, str] = {
    Role.CISO: "CISO (ciso)",
    Role.AUDIT: "監査 (audit)",
    Role.OPERATOR: "運用 (operator)",
}


def _reason_of(code: str) -> AdminReason:
    """What the steward's stable code means to an operator."""
    if code.startswith("unknown_"):
        return AdminReason.NOT_FOUND
    if code == "not_permitted":
        return AdminReason.NOT_PERMITTED
    return AdminReason.CONFLICT if code.endswith(("_taken", "_over")) else AdminReason.REFUSED_BY_STEWARD


async def _while_read(
    request: web.Request, lines: AsyncGenerator[bytes], look: Callable[[], None]
) -> AsyncGenerator[bytes]:
    """The lines, until the reader is gone: a silent trail would otherwise never notice.

    `look` is called each second and may end it by raising. Raises ConnectionResetError when the reader left.
    """
    due = 0.0
    async with contextlib.aclosing(lines):
        while True:
            coming = asyncio.ensure_future(anext(lines, None))
            try:
                while not (await asyncio.wait({coming}, timeout=_LOOK_EVERY))[0]:
                    if request.transport is None or request.transport.is_closing():
                        raise ConnectionResetError("the reader left")
                    look()
                line = await coming
            finally:
                await _stopped(coming)
            if line is None:
                return
            if time.monotonic() >= due:  # a busy trail leaves no pause to look in
                look()
                due = time.monotonic() + _LOOK_EVERY
            yield line


async def _stopped(task: asyncio.Future[bytes | None]) -> None:
    """Cancel what is still running and wait for it: a generator can be closed only while nobody is inside."""
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _given(request: web.Request) -> dict[str, Any]:
    """Path, query and body as one mapping; a name given twice is refused, so that the record says what was meant."""
    given: dict[str, Any] = {}
    parts: list[tuple[str, Any]] = [*request.match_info.items(), *request.query.items()]
    if request.can_read_body:
        try:
            body = await request.json()
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise Problem(AdminReason.INVALID_ARGUMENTS, "本文が JSON ではありません。") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise Problem(AdminReason.INVALID_ARGUMENTS, "本文が大きすぎます。", status=413) from error
        if not isinstance(body, dict):
            raise Problem(AdminReason.INVALID_ARGUMENTS, "本文が JSON のオブジェクトではありません。")
        parts += body.items()
    for name, value in parts:
        if name in given:
            raise Problem(AdminReason.INVALID_ARGUMENTS, f"{name} が二度指定されています。")
        given[name] = value
    return given


def _validated(endpoint: Endpoint[ArgumentsT], given: dict[str, Any]) -> ArgumentsT:
    try:
        return endpoint.arguments.model_validate(given)
    except ValidationError as error:
        faults = [
            {"key": ".".join(str(part) for part in item["loc"]), "expected": expected(item)}
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise Problem(AdminReason.INVALID_ARGUMENTS, "引数が正しくありません。", extra={"faults": faults}) from None
