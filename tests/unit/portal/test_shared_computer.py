"""A browser that people share: what one leaves behind on an app host never serves the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.identity.authentication import Authenticated
from gateway.identity.context import ControlContext
from gateway.identity.digests import KeyedDigests
from gateway.portal import entrance
from gateway.portal.arrival import CONTEXT
from gateway.portal.destinations import Destination
from gateway.portal.entrance import FLOWS, admit
from gateway.portal.flows import Flows
from gateway.portal.handlers import app_area
from gateway.state.records import Session, User

pytestmark = pytest.mark.anyio
HOST = "forms.other-domain.example"
DIGESTS = KeyedDigests([b"k" * 32])
NOW = 1000.0


def user(name: str) -> User:
    return User(name, name, name, "", "", (), "staff", (), False, None, "ja", 0.0)


def session(name: str) -> Session:
    return Session(
        id=f"s-{name}", user_id=name, token_hash="", amr=(), acr="", mfa_method="totp", mfa_at=NOW, created_at=NOW,
        expires_at=NOW + 1000, idle_limit=1000, last_used_at=NOW, device_id=None, source_ip="", user_agent="",
        operator=False, ended_at=None, end_reason="",
    )  # fmt: skip


@dataclass
class Store:
    """Reader and steward as far as a hand-over asks them; the code belongs to `owner`."""

    owner: str = "sato"
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def session(self, session_id: str) -> Session:
        return session(session_id.removeprefix("s-"))

    def user(self, user_id: str) -> User:
        return user(user_id)

    async def call(self, op: str, **args: Any) -> dict[str, Any]:
        self.calls.append((op, args))
        return {"session_id": f"s-{self.owner}", "app_id": "forms", "return_to": "/list?page=2"}

    def done(self) -> list[str]:
        return [op for op, _ in self.calls]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def browser(store: Store) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    settings = SimpleNamespace(portal=SimpleNamespace(host="portal.city.example", port=443))
    context = SimpleNamespace(reader=store, steward=store, digests=DIGESTS, settings=settings, clock=lambda: NOW)
    app = web.Application()
    app[CONTEXT] = cast("ControlContext", context)
    app[FLOWS] = Flows()
    app.router.add_get("/.sekisho/callback", app_area.callback)
    app.router.add_get("/admit", _admit_sato)
    client = TestClient(TestServer(app), cookie_jar=aiohttp.DummyCookieJar())
    await client.start_server()
    yield client
    await client.close()


async def _admit_sato(request: web.Request) -> web.Response:
    proven = Authenticated(user("sato"), ("pwd", "otp", "mfa"), "urn:sekisho:aal2", "totp", NOW)
    return await admit(request, None, proven, Destination(None, "portal.city.example", "/"))


def arriving(person: str | None, **more: str) -> dict[str, str]:
    cookies = f"__Host-sekisho-state={'s' * 43}; JSESSIONID=1"
    if person is not None:
        cookies += f"; __Host-sekisho-person={DIGESTS.make('person', person)}"
    return {"Host": HOST, "X-Sekisho-Area": "app", "X-Sekisho-App": "forms", "Cookie": cookies, **more}


async def take_over(browser: TestClient[web.Request, web.Application], person: str | None) -> aiohttp.ClientResponse:
    return await browser.get(f"/.sekisho/callback?code={'c' * 43}", headers=arriving(person), allow_redirects=False)


async def test_app_cookies_of_the_person_before_go_before_the_next_is_let_in(
    browser: TestClient[web.Request, web.Application], store: Store
) -> None:
    answer = await take_over(browser, "tanaka")
    assert answer.headers["Clear-Site-Data"] == '"cookies", "storage"'
    assert answer.headers["Location"] == f"https://{HOST}/list?page=2"
    assert store.done() == ["handoff.take"], "no session of this host yet"
    dropped = answer.headers.getall("Set-Cookie")
    assert [line.partition("=")[0] for line in dropped] == ["__Host-sekisho-person"]
    assert "Max-Age=0" in dropped[0]


@pytest.mark.parametrize(("mark", "cleared"), [(None, '"storage"'), ("sato", None)])
async def test_a_browser_without_traces_of_another_is_let_in_at_once(
    browser: TestClient[web.Request, web.Application], store: Store, mark: str | None, cleared: str | None
) -> None:
    answer = await take_over(browser, mark)
    assert answer.headers.get("Clear-Site-Data") == cleared
    assert store.done() == ["handoff.take", "app_session.start"]
    names = {line.partition("=")[0] for line in answer.headers.getall("Set-Cookie")}
    assert "__Host-sekisho-app" in names


async def test_the_session_left_open_ends_when_another_person_signs_in(
    browser: TestClient[web.Request, web.Application], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "page", lambda *_, **__: web.Response(text="changed"))
    await browser.get("/admit", headers={"X-Sekisho-Session": "s-tanaka", "X-Sekisho-Area": "portal"})
    ((op, args),) = store.calls
    assert op == "session.end"
    assert args["selector"] == {"sessions": ["s-tanaka"]}
    assert args["by"] == "sato"
