"""`apps test` asks the app itself: what it could not ask is never told as in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from gateway.apps.probe import Finding, probe
from tests.support.gate_world import APP


def findings(status: int, forged: int | None = None) -> dict[str, Finding]:
    """What is found of an app that answers so, and `forged` to whoever brings an identity."""

    async def answer(request: web.Request) -> web.Response:
        known = APP.assertion_header in request.headers
        return web.Response(status=forged if known and forged is not None else status)

    async def ask() -> tuple[Finding, ...]:
        app = web.Application()
        app.router.add_get("/", answer)
        async with TestServer(app) as server:
            return await probe(replace(APP, upstream=str(server.make_url("")).rstrip("/")))

    return {each.name: each for each in asyncio.run(ask())}


def test_an_app_that_refuses_strangers_is_in_order() -> None:
    found = findings(401)
    assert [(each.status, each.advice) for name, each in found.items() if name != "reachable"] == [(401, "")] * 2


def test_an_app_that_believes_anybody_is_told() -> None:
    found = findings(200)
    assert "識別情報なし" in found["without_identity"].advice
    assert "偽の識別情報" in found["forged_identity"].advice
    only_forged = findings(403, forged=200)
    assert only_forged["without_identity"].advice == ""
    assert "偽の識別情報" in only_forged["forged_identity"].advice


@pytest.mark.parametrize("name", ["without_identity", "forged_identity"])
def test_an_app_that_fails_is_not_called_in_order(name: str) -> None:
    assert findings(503)[name].advice == "アプリが 503 を返したため、確かめられません。"


def test_an_app_that_cannot_be_reached_is_not_called_in_order() -> None:
    found = asyncio.run(probe(replace(APP, upstream=f"http://127.0.0.1:{unused_port()}")))
    assert [each.status for each in found] == [None] * 3
    assert "接続できません" in found[0].advice
    assert [each.advice for each in found[1:]] == [
        "アプリに接続できないため、確かめていません (ClientConnectorError)。"
    ] * 2
