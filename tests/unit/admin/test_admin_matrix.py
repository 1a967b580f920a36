"""Every endpoint × every kind of caller, generated from the table of endpoints: who may, who may not, what is written.

A real store, a real journal file and the real guard; only the steward's socket has nobody behind it, so that a command
that got through the guard can change nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from audit.event import check
from audit.journal import Journal
from audit.query import Query
from audit.search import search
from gateway.admin.endpoint import Endpoint, Justified, Role
from gateway.admin.endpoints import endpoints
from gateway.admin.server import build_admin_app
from gateway.identity.context import ControlContext
from gateway.settings import Settings
from gateway.state import store
from gateway.state.records import Lock, Session, User
from gateway.state.sealing import Sealing
from gateway.state.steward_client import StewardClient
from tests.support.filled_installation import SETTINGS, fill

NOW = time.time()
AAL2 = "urn:sekisho:aal2"
PATHS = {"login": "nobody", "session": "none", "lock": "none", "app": "none", "approval": "none", "device": "none",
         "version": "active", "reference": "0000000000000000", "case": "none", "document": "none",
         "letter": "none", "reveal": "none",
         "hold": "none", "authority": "none"}  # fmt: skip
GUARDED = [endpoint for endpoint in endpoints() if endpoint.roles]
WITHOUT = ["none", "wrong", "browser", "expired", "one_factor", "disabled", "locked", "no_role"]


def user(name: str, *roles: str, disabled: bool = False) -> User:
    return User(name, name, name, "", "", (), "staff", roles, disabled, None, "", NOW)


def session(name: str, owner: str, **changes: Any) -> Session:
    values: dict[str, Any] = {
        "id": f"s-{name}", "user_id": owner, "token_hash": hashlib.sha256(name.encode()).hexdigest(),
        "amr": ("pwd", "otp", "mfa"), "acr": AAL2, "mfa_method": "totp", "mfa_at": NOW, "created_at": NOW,
        "expires_at": NOW + 30_000, "idle_limit": 30_000.0, "last_used_at": NOW, "device_id": None, "source_ip": "",
        "user_agent": "", "operator": True, "ended_at": None, "end_reason": "",
    }  # fmt: skip
    return Session(**(values | changes))


RECORDS = [
    user("u-ciso", "ciso"), user("u-audit", "audit"), user("u-operator", "operator"), user("u-no_role"),
    user("u-disabled", "ciso", disabled=True), user("u-locked", "ciso"),
    session("ciso", "u-ciso"), session("audit", "u-audit"), session("operator", "u-operator"),
    session("no_role", "u-no_role"), session("disabled", "u-disabled"), session("locked", "u-locked"),
    session("browser", "u-ciso", operator=False), session("expired", "u-ciso", expires_at=NOW - 1),
    session("one_factor", "u-ciso", acr="urn:sekisho:aal1", mfa_at=None, mfa_method=""),
    Lock("l-1", "user", "u-locked", "", "test", "u-ciso", NOW, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with everybody in it, made once: each test works on a copy."""
    folder = tmp_path_factory.mktemp("filled")
    fill(folder, RECORDS, NOW)
    return folder


@pytest.fixture
def context(filled: Path, tmp_path: Path) -> Iterator[ControlContext]:
    for name in ("state", "journal", "log", "run"):
        (tmp_path / name).mkdir()
    settings = Settings.parse(SETTINGS, tmp_path / "sekisho.toml")
    sealing = Sealing.load(filled / "sealing.key")
    path = tmp_path / "state" / "sekisho.db"
    for file in filled.glob("sekisho.db*"):
        shutil.copy(file, path.with_name(file.name))
    journal = Journal(tmp_path / "journal", "control", segment_bytes=1 << 20, segment_age=60.0, stall_limit=30)
    reader = store.Reader(path, sealing)
    yield cast(
        "ControlContext",
        SimpleNamespace(
            settings=settings, reader=reader, steward=StewardClient(tmp_path / "run" / "nobody.sock", deadline=1.0),
            journal=journal, clock=time.time, posture=None, alerts=None, lists=None,
        ),
    )  # fmt: skip
    reader.close()


async def opened(context: ControlContext) -> AsyncIterator[TestClient[Any, Any]]:
    context.journal.open(asyncio.get_running_loop())
    client = TestClient(TestServer(build_admin_app(context)))
    await client.start_server()
    try:
        yield client
    finally:
        await client.close()
        context.journal.close(2.0)


async def ask(client: TestClient[Any, Any], endpoint: Endpoint[Any], token: str | None) -> tuple[int, dict[str, Any]]:
    body = minimal(endpoint) if endpoint.method == "POST" else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    path = endpoint.path.format(**PATHS)
    async with client.request(endpoint.method, path, json=body, headers=headers) as answer:
        if endpoint.command == "events.tail" and answer.status == 200:
            return answer.status, {}  # it goes on for ever; leaving ends it
        text = await answer.text()
        return answer.status, json.loads(text.splitlines()[-1]) if text else {}


def minimal(endpoint: Endpoint[Any]) -> dict[str, Any]:
    """A body that passes the arguments' check: names of things that do not exist."""
    known: dict[str, Any] = {
        "login": "nobody", "name": "x", "file": "eA==", "target": "user", "target_id": "nobody", "user": "nobody",
        "app": "none", "source": "x", "version": "abcdef", "decision": "0000000000000000", "sessions": ["none"],
        "serial": "ab12", "verdict": "benign", "field": "path", "value": "x",
    }  # fmt: skip
    fields = endpoint.arguments.model_fields
    in_path = {part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")}
    body = {name: known[name] for name in fields if fields[name].is_required() and name in known}
    if endpoint.command == "sessions.revoke":
        body["sessions"] = ["none"]
    if endpoint.command == "approvals.decide":
        body["decision"] = "grant"
    if endpoint.command == "events.bundle":
        body["case"] = "none"
    if issubclass(endpoint.arguments, Justified):
        body |= {"reason": "test", "dry_run": True}
    return {name: value for name, value in body.items() if name not in in_path}


def run(context: ControlContext, endpoint: Endpoint[Any], token: str | None) -> tuple[int, dict[str, Any], list[Any]]:
    async def go() -> tuple[int, dict[str, Any]]:
        async for client in opened(context):
            return await ask(client, endpoint, token)
        raise AssertionError

    status, body = asyncio.run(go())
    records = list(search(context.settings.paths.journal, Query(text="admin.", newest_first=False)))
    return status, body, [record for record in records if record.get("sekisho.admin.command") == endpoint.command]


@pytest.mark.promise("P1.admin-roles")
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("endpoint", GUARDED, ids=lambda endpoint: endpoint.command)
def test_each_role_may_do_what_the_table_says_and_nothing_else(
    context: ControlContext, endpoint: Endpoint[Any], role: Role
) -> None:
    status, body, records = run(context, endpoint, role.value)
    if role in endpoint.roles:
        assert body.get("reason") not in ("sign_in_required", "internal_error", "invalid_arguments"), body
        assert "次のいずれかの役割" not in body.get("detail", "")
    else:
        assert (status, body["reason"]) == (403, "not_permitted")
    assert [record["event.action"] for record in records] == ["admin.requested", "admin.done"]
    assert [fault for record in records for fault in check({k: v for k, v in record.items() if k != "event.id"})] == []
    assert records[0]["user.name"] == f"u-{role.value}"


@pytest.mark.promise("P1.admin-token")
@pytest.mark.parametrize("caller", WITHOUT)
def test_no_endpoint_answers_without_a_live_operator_token(context: ControlContext, caller: str) -> None:
    async def go() -> list[tuple[str, int, str]]:
        async for client in opened(context):
            answers = []
            for endpoint in GUARDED:
                status, body = await ask(client, endpoint, None if caller == "none" else caller)
                answers.append((endpoint.command, status, body["reason"]))
            return answers
        raise AssertionError

    expected = (403, "not_permitted") if caller == "no_role" else (401, "sign_in_required")
    assert [answer for answer in asyncio.run(go()) if answer[1:] != expected] == []


@pytest.mark.promise("P1.admin-recorded-first")
def test_with_an_unhealthy_journal_nothing_is_done(context: ControlContext) -> None:
    class Steward:
        calls: list[str] = []  # noqa: RUF012 (one list for this test)

        async def call(self, op: str, **_: object) -> dict[str, Any]:
            self.calls.append(op)
            return {}

    context.steward = Steward()  # type: ignore[misc, assignment]  # the fixture's namespace is not frozen
    revoke = next(endpoint for endpoint in GUARDED if endpoint.command == "sign_out")

    async def go() -> tuple[int, dict[str, Any]]:
        async for client in opened(context):
            context.journal.close(2.0)
            return await ask(client, revoke, "ciso")
        raise AssertionError

    status, body = asyncio.run(go())
    assert (status, body["reason"], Steward.calls) == (503, "journal_unhealthy", [])


def test_every_change_wants_a_reason() -> None:
    changing = {endpoint.command for endpoint in GUARDED if endpoint.changes}
    assert changing >= {"users.add", "users.disable", "sessions.revoke", "locks.add", "apps.apply", "policy.apply"}
    for endpoint in GUARDED:
        if endpoint.changes:
            assert endpoint.arguments.model_fields["reason"].is_required()


def test_operators_cannot_search_what_auditors_read() -> None:
    roles = {endpoint.command: endpoint.roles for endpoint in GUARDED}
    assert Role.OPERATOR not in roles["events.search"] | roles["events.tail"]
    changing = [each for each in GUARDED if each.changes and not each.command.startswith("reveals.")]  # those only find
    assert Role.AUDIT not in frozenset().union(*(each.roles for each in changing))
