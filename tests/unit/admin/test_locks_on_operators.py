"""A lock shuts an operator out of the commands too: 運用 cannot bar the CISO who would look into what 運用 does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.admin import locks
from gateway.admin.endpoint import Call, Operator, Reply, Role
from gateway.admin.problem import AdminReason, Problem
from gateway.identity.context import ControlContext
from gateway.state.records import Session, User

NOW = 1000.0


def user(login: str, *roles: str) -> User:
    groups = ("staff", "security") if roles else ("staff", "counter")
    return User(login, login, login, "", "", groups, "staff", roles, False, None, "", NOW)


PEOPLE = {person.id: person for person in (
    user("ciso", "ciso"), user("operator", "operator"), user("auditor", "audit"), user("tanaka"),
)}  # fmt: skip


def session(login: str) -> Session:
    return Session(
        id=f"s-{login}", user_id=login, token_hash="", amr=(), acr="", mfa_method="totp", mfa_at=NOW, created_at=NOW,
        expires_at=NOW + 1000, idle_limit=1000, last_used_at=NOW, device_id=None, source_ip="", user_agent="",
        operator=True, ended_at=None, end_reason="",
    )  # fmt: skip


@dataclass
class People:
    """The reader, as far as locks ask it."""

    def user(self, user_id: str) -> User | None:
        return PEOPLE.get(user_id)

    def user_by_login(self, login: str) -> User | None:
        return PEOPLE.get(login)

    def users(self) -> list[User]:
        return list(PEOPLE.values())

    def session(self, session_id: str) -> Session | None:
        return session(session_id.removeprefix("s-")) if session_id.startswith("s-") else None

    def sessions(self, active: bool = True) -> list[Session]:
        return [session(login) for login in PEOPLE]


def lock(by: str, role: Role, target: str, target_id: str) -> Reply:
    context = cast("ControlContext", SimpleNamespace(reader=People()))
    given: dict[str, Any] = {"target": target, "target_id": target_id, "reason": "x", "dry_run": True}
    operator = Operator(PEOPLE[by], session(by), frozenset({role}))
    return asyncio.run(locks.add(Call(context, operator, locks.AddLock.model_validate(given), "R", NOW)))


@pytest.mark.parametrize(
    ("target", "target_id"),
    [("user", "ciso"), ("user", "auditor"), ("session", "s-ciso"), ("group", "security"), ("group", "staff")],
)
def test_only_a_ciso_bars_an_account_that_holds_a_role(target: str, target_id: str) -> None:
    with pytest.raises(Problem) as refused:
        lock("operator", Role.OPERATOR, target, target_id)
    assert refused.value.reason == AdminReason.NOT_PERMITTED


@pytest.mark.parametrize(("target", "target_id"), [("user", "tanaka"), ("session", "s-tanaka"), ("group", "counter")])
def test_operators_bar_everybody_else(target: str, target_id: str) -> None:
    assert lock("operator", Role.OPERATOR, target, target_id).rows == 1


@pytest.mark.parametrize(("target", "target_id"), [("user", "operator"), ("session", "s-operator"), ("group", "staff")])
def test_a_ciso_bars_operators(target: str, target_id: str) -> None:
    assert lock("ciso", Role.CISO, target, target_id).rows == 1


@pytest.mark.parametrize(("target", "target_id"), [("user", "ciso"), ("session", "s-ciso")])
def test_nobody_bars_themselves(target: str, target_id: str) -> None:
    with pytest.raises(Problem) as refused:
        lock("ciso", Role.CISO, target, target_id)
    assert refused.value.reason == AdminReason.OWN_REQUEST
