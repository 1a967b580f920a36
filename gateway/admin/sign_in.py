"""Sign-in of operators: id and password, then a second factor, then an operator token of at most eight hours.

Between the two steps nothing is stored: the half-finished sign-in lives in this process for five minutes, and the
identity package looks at the account's waiting time again at the second step, so a lockout ends it too.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Annotated

from pydantic import Field, SecretStr

from gateway.admin.endpoint import Arguments, Call, Reply, Role
from gateway.admin.problem import AdminReason, Problem
from gateway.identity.authentication import Authenticated, FirstStep, SignInRefused, verify_first, verify_totp
from gateway.identity.context import Source
from gateway.identity.sessions import start_session

TOKEN_LIFETIME = 8 * 3600.0  # seconds
_STEP_LIFETIME = 300.0  # seconds between password and second factor
_MOST_STEPS = 256

Secret = Annotated[SecretStr, Field(max_length=1024)]


class Start(Arguments):
    """First step. The login is kept out of the record: people type passwords there."""

    login: Secret
    password: Secret
    client: Annotated[str, Field(max_length=200)] = ""


class Finish(Arguments):
    """Second step with a time-based code."""

    challenge: Secret
    code: Secret
    client: Annotated[str, Field(max_length=200)] = ""


class SignIn:
    """The half-finished sign-ins of this process."""

    def __init__(self) -> None:
        self._steps: OrderedDict[str, FirstStep] = OrderedDict()

    async def start(self, call: Call[Start]) -> Reply:
        """Check id and password; answer with a challenge for the second step."""
        arguments = call.arguments
        try:
            first = await verify_first(
                call.context,
                arguments.login.get_secret_value(),
                arguments.password.get_secret_value(),
                _source(call.request_id, arguments.client),
            )
        except SignInRefused as refused:
            raise _refusal(refused) from refused
        challenge = secrets.token_urlsafe(32)
        self._steps[challenge] = first
        while len(self._steps) > _MOST_STEPS:
            self._steps.popitem(last=False)
        portal = call.context.settings.portal.origin
        return Reply({"challenge": challenge, "methods": list(first.methods), "portal": portal})

    async def finish(self, call: Call[Finish]) -> Reply:
        """Check the second factor; answer with the operator token, which exists nowhere else."""
        arguments = call.arguments
        challenge = arguments.challenge.get_secret_value()
        first = self._steps.get(challenge)
        if first is None or call.now - first.at > _STEP_LIFETIME:
            self._steps.pop(challenge, None)
            raise Problem(AdminReason.SIGN_IN_REQUIRED, "時間が経過しました。最初からサインインしてください。")
        source = _source(call.request_id, arguments.client)
        try:
            person = await verify_totp(call.context, first, arguments.code.get_secret_value(), source)
        except SignInRefused as refused:
            if refused.wait_until is not None:
                self._steps.pop(challenge, None)
            raise _refusal(refused) from refused
        self._steps.pop(challenge, None)
        return await _token(call, person, source)


async def _token(call: Call[Finish], person: Authenticated, source: Source) -> Reply:
    roles = [role.value for role in Role if role.value in person.user.roles]
    if not roles:
        raise Problem(AdminReason.NOT_PERMITTED, "このアカウントには管理の役割がありません。")
    started = await start_session(call.context, person, source, operator=True, lifetime=TOKEN_LIFETIME)
    return Reply(
        {
            "token": started.token,
            "expires_at": started.session.expires_at,
            "session": started.session.id,
            "user": {"login": person.user.login, "name": person.user.name, "roles": roles},
        }
    )


async def sign_out(call: Call[Arguments]) -> Reply:
    """End the operator's own token."""
    session = call.operator.session
    await call.context.steward.call(
        "session.end", selector={"sessions": [session.id]}, reason="signed_out", message="", by=call.by, why="sign-out"
    )
    return Reply({"ended": session.id})


async def whoami(call: Call[Arguments]) -> Reply:
    """Who the token belongs to, and until when."""
    operator = call.operator
    return Reply(
        {
            "login": operator.user.login,
            "name": operator.user.name,
            "roles": sorted(role.value for role in operator.roles),
            "session": operator.session.id,
            "expires_at": operator.session.expires_at,
            "mfa_method": operator.session.mfa_method,
        }
    )


def _source(request_id: str, client: str) -> Source:
    return Source(address="", zone="", user_agent=client or "sekisho", device_id=None, request_id=request_id)


_TEXTS = {
    "credentials_wrong": (
        "職員IDまたはパスワードが正しくありません。"
        "パスキーだけを登録している方は、ポータルの「認証手段」でパスワードと認証アプリを追加してください。"
    ),  # said to everybody alike: it tells nobody who has which factor
    "code_wrong": "確認コードが正しくありません。アプリに表示されている最新の6桁の数字を入力してください。",
    "code_reused": "このコードは使用済みです。次のコードが表示されるまでお待ちください。",
    "account_waiting": "続けて失敗したため、一時的にサインインできません。",
}


def _refusal(refused: SignInRefused) -> Problem:
    reason = refused.reason.value
    extra = {"wait_until": refused.wait_until} if refused.wait_until is not None else {}
    return Problem(reason, _TEXTS.get(reason, "サインインできません。"), status=401, extra=extra)


__all__ = ["Finish", "SignIn", "Start", "sign_out", "whoami"]
