"""The first passage through real processes: recorded before it reaches the app, judged, and ended on demand."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from audit.receipt import verify_receipt
from gateway.gate.assertion import key_set, load_key
from tests.support.patience import EXACT
from tests.support.running_city import HOST, RunningCity, running_city

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}


async def _allowed(city: RunningCity) -> None:
    async with city.client() as client, client.get("/list?page=2") as answer:
        assert (answer.status, await answer.text()) == (200, "hello /list")
    headers = city.app.seen[-1]
    assert "__Host-sekisho" not in headers.get("Cookie", "")
    assert city.app.decided_before[-1] is True
    keys = jwt.PyJWKSet.from_dict(
        key_set([load_key((city.root / "keys" / f"assertion-{name}.pem").read_bytes()) for name in ("current", "next")])
    )
    token = headers["X-Sekisho-Jwt-Assertion"]
    kid = jwt.get_unverified_header(token)["kid"]
    claims = jwt.decode(
        token, keys[kid].key, algorithms=["ES256"], audience="docs", issuer="https://portal.sekisho.localhost:8443"
    )
    assert (claims["sub"], claims["sid"], claims["exp"] - claims["iat"]) == ("u1", "s1", 300)
    decided = [record for record in city.records() if record.get("http.request.id") == headers["X-Sekisho-Request-Id"]]
    assert decided[0]["event.action"] == "request.decided"
    assert decided[0]["sekisho.verdict"] == "forward"
    assert decided[0]["rule.id"] == "docs"
    assert "page=2" not in str(decided)


async def _not_signed_in(city: RunningCity) -> None:
    reached = len(city.app.seen)
    async with city.client(signed_in=False) as client:
        async with client.get("/list", headers=NAVIGATION, allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.headers["Location"].startswith("https://portal.sekisho.localhost:8443/sign-in?app=docs.")
        async with client.get("/list", headers={"Accept": "application/json"}) as answer:
            assert answer.status == 401
            assert answer.content_type == "application/problem+json"
            assert (await answer.json(content_type=None))["reason"] == "sign_in_required"
    async with city.client(signed_in=False) as client:
        cookie = {"Cookie": f"__Host-sekisho-app={'x' * 43}", **NAVIGATION}
        async with client.get("/list", headers=cookie, allow_redirects=False) as answer:
            assert answer.status == 302
    assert len(city.app.seen) == reached


async def _next_message(socket: aiohttp.ClientWebSocketResponse) -> aiohttp.WSMessage:
    async with asyncio.timeout(30):
        return await socket.receive()


async def _ended_live(city: RunningCity) -> None:
    async with city.client() as client:
        sockets = [await client.ws_connect("/socket", origin=f"http://{HOST}") for _ in range(2)]
        for socket in sockets:
            assert (await _next_message(socket)).data == "welcome"
        events = await client.get("/events")
        assert await events.content.readline() == b"data: first\n"
        begun = time.monotonic()
        result = await city.steward.call(
            "session.end", selector={"sessions": ["s1"]}, reason="session_revoked", message="", by="ciso", why="test"
        )
        for socket in sockets:
            message = await _next_message(socket)
            assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(events.content.read(), 30)
        assert time.monotonic() - begun < 25  # they end by this, not as stale state ends connections (30 s)
        events.close()
    public = load_pem_public_key((city.root / "keys" / "receipts.pub").read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    receipt = verify_receipt(result["receipt"], public)
    assert sum(receipt.closed.values()) == 3
    assert list(receipt.fenced) == []
    async with city.client() as client, client.get("/list", headers=NAVIGATION, allow_redirects=False) as answer:
        assert answer.status == 401
        assert "管理者の操作によりサインアウトしました" in await answer.text()
    assert await _ends_on_record(city, 3) == ["session_revoked"] * 3


async def _ends_on_record(city: RunningCity, count: int) -> list[str]:
    """The reasons of requests that were ended, once there are `count`: completions are not waited for by anybody."""
    async with asyncio.timeout(60):
        while True:
            ended = [record for record in city.records() if record["event.action"] == "request.completed"]
            found = [record["sekisho.reason"] for record in ended if "sekisho.reason" in record]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)  # journals have no event for readers


async def _worker_returns(city: RunningCity) -> None:
    before = {each["name"]: each["pid"] for each in city.status["processes"]}
    os.kill(before["worker-0"], signal.SIGKILL)
    async with asyncio.timeout(60):
        while True:
            now = {each["name"]: each for each in city.status["processes"]}
            if now["worker-0"]["ready"] and now["worker-0"]["pid"] != before["worker-0"]:
                break
            await asyncio.sleep(0.05)  # the supervisor's file is all there is to look at
    assert now["worker-1"]["pid"] == before["worker-1"]
    city.token = city.token[::-1]
    city.portal_token = city.portal_token[::-1]
    await city.start_session("s2")
    for _ in range(8):
        async with city.client() as client, client.get("/again") as answer:
            assert answer.status == 200


async def _status_of(city: RunningCity, wanted: int, within: float) -> int:
    """Ask until the answer has the wanted status; return the last one."""
    status = 0
    until = time.monotonic() + within
    while status != wanted and time.monotonic() < until:
        async with city.client() as client, client.get("/stale") as answer:
            status = answer.status
        await asyncio.sleep(0.1)
    return status


async def _stale_state_refuses(city: RunningCity) -> None:
    steward = next(each["pid"] for each in city.status["processes"] if each["name"] == "steward")
    os.kill(steward, signal.SIGSTOP)
    try:
        assert await _status_of(city, 503, 60.0) == 503
        reached = len(city.app.seen)
        async with city.client() as client, client.get("/stale") as answer:
            assert (await answer.json(content_type=None))["reason"] == "state_stale"
        assert len(city.app.seen) == reached
    finally:
        os.kill(steward, signal.SIGCONT)
    assert await _status_of(city, 200, 60.0) == 200


@pytest.mark.promise("P1.stale-state-refuses")
@pytest.mark.promise("P2.recorded-before-app")
@pytest.mark.promise("P3.revocation-ends-live-connections")
def test_one_passage_from_sign_in_to_revocation(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_city(tmp_path, **EXACT) as city:
            await city.furnish()
            await _allowed(city)
            await _not_signed_in(city)
            await _ended_live(city)
            await _worker_returns(city)
            await _stale_state_refuses(city)

    asyncio.run(main())
