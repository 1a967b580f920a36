"""Commands about users: list, show, add, disable, enable, reset factors, print a new set-up letter."""

from __future__ import annotations

import unicodedata
import uuid
from datetime import date, datetime, time, timedelta, timezone
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.admin.endpoint import Arguments, Call, Change, Listing, Reply, listed
from gateway.admin.letters import Letter, letters_page
from gateway.admin.people import may_grant, may_touch, person, user_row
from gateway.admin.problem import AdminReason, Problem
from gateway.identity.provisioning import LoginTaken, SetupCode, create_setup_code, create_user
from gateway.state.records import FactorKind, User

JST = timezone(timedelta(hours=9))


def login_name(typed: str) -> str:
    """A 職員ID as stored: NFKC, case folded, ASCII; raises ValueError."""
    login = unicodedata.normalize("NFKC", typed).strip().casefold()
    if not login or len(login) > 64 or not login.isascii() or not all(c.isalnum() or c in "._-@" for c in login):
        raise ValueError("半角の英数字と . _ - @ で64文字まで")
    return login


def contract_end(day: str) -> float | None:
    """The end of the last day (JST) of a contract written `2027-03-31`, None for ""; raises ValueError."""
    if not day:
        return None
    last = date.fromisoformat(day)
    return datetime.combine(last + timedelta(days=1), time(), JST).timestamp()


Login = Annotated[str, AfterValidator(login_name)]
Group = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
RoleName = Literal["ciso", "audit", "operator"]


class UserListing(Listing):
    """Filters of `users ls`."""

    group: str = ""
    state: Literal["", "active", "disabled"] = ""
    text: Annotated[str, Field(max_length=100)] = ""


class OneUser(Arguments):
    """A user by login."""

    login: str


class ChangeUser(Change):
    """A change to a user by login."""

    login: str


class AddUser(Change):
    """A new user."""

    login: Login
    name: Annotated[str, Field(min_length=1, max_length=80)]
    email: Annotated[str, Field(max_length=200, pattern=r"^$|^[^@\s]+@[^@\s]+$")] = ""
    department: Annotated[str, Field(max_length=80)] = ""
    groups: list[Group] = Field(default_factory=list)
    kind: Literal["staff", "fixed_term", "contractor"] = "staff"
    roles: list[RoleName] = Field(default_factory=list)
    contract_end: Annotated[str, Field(pattern=r"^$|^\d{4}-\d{2}-\d{2}$")] = ""
    language: Literal["", "ja", "en"] = ""


def new_user(fields: AddUser, now: float) -> User:
    """The record of a new user (pure but for its random id); raises ValueError for an impossible date."""
    return User(
        id=uuid.uuid4().hex,
        login=fields.login,
        name=fields.name,
        email=fields.email,
        department=fields.department,
        groups=tuple(dict.fromkeys(fields.groups)),
        kind=fields.kind,
        roles=tuple(dict.fromkeys(fields.roles)),
        disabled=False,
        contract_end=contract_end(fields.contract_end),
        language=fields.language,
        created_at=now,
    )


async def ls(call: Call[UserListing]) -> Reply:
    """Users, by login."""
    wanted = call.arguments
    rows = [user_row(user) for user in sorted(call.context.reader.users(), key=lambda user: user.login)]
    if wanted.group:
        rows = [row for row in rows if wanted.group in row["groups"]]
    if wanted.state:
        rows = [row for row in rows if row["state"] == wanted.state]
    if wanted.text:
        text = wanted.text.casefold()
        rows = [row for row in rows if any(text in row[key].casefold() for key in ("login", "name", "department"))]
    return listed(rows, wanted.limit)


async def show(call: Call[OneUser]) -> Reply:
    """One user with factors (kinds and dates, never secrets), sessions and locks."""
    reader = call.context.reader
    user = person(call, call.arguments.login)
    factors = [
        {"id": f.id, "kind": f.kind, "label": f.label, "created_at": f.created_at, "last_used_at": f.last_used_at}
        for f in reader.factors(user.id)
    ]
    sessions = [s for s in reader.sessions(active=True) if s.user_id == user.id]
    targets = {("user", user.id)} | {("group", group) for group in user.groups}
    locks = [lock.to_row() for lock in reader.locks() if (lock.target, lock.target_id) in targets]
    return Reply({**user_row(user), "factors": factors, "sessions": len(sessions), "locks": locks}, rows=1)


async def add(call: Call[AddUser]) -> Reply:
    """Create a user with a one-time set-up code; the answer holds the letter."""
    fields = call.arguments
    may_grant(call, tuple(fields.roles))
    try:
        user = new_user(fields, call.now)
    except ValueError as error:
        raise Problem(AdminReason.INVALID_ARGUMENTS, "contract_end: 実在する日付ではありません。") from error
    if call.context.reader.user_by_login(user.login) is not None:
        raise Problem(AdminReason.CONFLICT, f"職員ID {user.login} は既に登録されています。")
    if fields.dry_run:
        return Reply({"plan": [{"action": "add", **user_row(user)}], "hit": 1})
    try:
        code = await create_user(call.context, user, call.by)
    except LoginTaken as taken:
        raise Problem(AdminReason.CONFLICT, f"{user.login} またはメールアドレスは既に使われています。") from taken
    return Reply({"user": user_row(user), **_letter(call, user, code)}, rows=1, status=201)


async def disable(call: Call[ChangeUser]) -> Reply:
    """Disable an account: sessions and live connections end; the answer holds the receipt."""
    user = _touchable(call)
    if user.disabled:
        raise Problem(AdminReason.CONFLICT, f"{user.login} は既に無効です。")
    sessions = [s.id for s in call.context.reader.sessions(active=True) if s.user_id == user.id]
    if call.arguments.dry_run:
        return Reply({"plan": [{"action": "disable", **user_row(user), "sessions": len(sessions)}], "hit": 1})
    done = await call.context.steward.call("user.disable", id=user.id, reason=call.arguments.reason, by=call.by)
    return Reply({"user": user.login, "sessions": sessions, "receipt": done.get("receipt")}, rows=1)


async def enable(call: Call[ChangeUser]) -> Reply:
    """Enable an account again."""
    user = _touchable(call)
    if not user.disabled:
        raise Problem(AdminReason.CONFLICT, f"{user.login} は既に有効です。")
    if call.arguments.dry_run:
        return Reply({"plan": [{"action": "enable", **user_row(user)}], "hit": 1})
    await call.context.steward.call("user.enable", id=user.id, reason=call.arguments.reason, by=call.by)
    return Reply({"user": user.login}, rows=1)


async def reset_factors(call: Call[ChangeUser]) -> Reply:
    """Remove every factor, end the sessions, and answer with a new set-up letter: for a lost phone or key."""
    user = _touchable(call)
    factors = call.context.reader.factors(user.id)
    sessions = [s.id for s in call.context.reader.sessions(active=True) if s.user_id == user.id]
    if call.arguments.dry_run:
        plan = {"action": "reset_factors", **user_row(user), "factors": len(factors), "sessions": len(sessions)}
        return Reply({"plan": [plan], "hit": 1})
    for factor in factors:
        await call.context.steward.call("factor.remove", id=factor.id)
    ended = await call.context.steward.call(
        "session.end",
        selector={"user": user.id},
        reason="session_revoked",
        message="",
        by=call.by,
        why=call.arguments.reason,
    )
    code = await create_setup_code(call.context, user, call.by)
    return Reply({"removed": len(factors), "receipt": ended.get("receipt"), **_letter(call, user, code)}, rows=1)


async def letter(call: Call[ChangeUser]) -> Reply:
    """A new set-up letter for someone who has not set up yet; an older code of theirs stops working."""
    user = _touchable(call)
    if any(f.kind in (FactorKind.TOTP, FactorKind.PASSKEY) for f in call.context.reader.factors(user.id)):
        raise Problem(AdminReason.CONFLICT, f"{user.login} は設定済みです。紛失なら users reset-factors です。")
    if call.arguments.dry_run:
        return Reply({"plan": [{"action": "letter", **user_row(user)}], "hit": 1})
    return Reply(_letter(call, user, await create_setup_code(call.context, user, call.by)), rows=1)


def _touchable(call: Call[ChangeUser]) -> User:
    user = person(call, call.arguments.login)
    may_touch(call, user)
    return user


def _letter(call: Call[AddUser] | Call[ChangeUser], user: User, code: SetupCode) -> dict[str, str]:
    """The page goes to the operator only; the server keeps no copy of a set-up code."""
    letters = (Letter(user.login, user.name, user.department, code.code, code.expires_at),)
    return {"letters_html": letters_page(call.context.settings.portal, letters, call.now)}
