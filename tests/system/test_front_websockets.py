"""WebSockets from a browser's side of HAProxy and nginx to an app behind the whole gateway, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from tests.support.front_websockets import (
    BINARY,
    CLOSE,
    PATIENCE,
    TEXT,
    Front,
    Http1Socket,
    Http2Socket,
    Refused,
    Socket,
)
from tests.support.fronts import haproxy, nginx
from tests.support.ports import free_port
from tests.support.running_city import HOST, RunningCity, running_city
from tests.support.server_pairs import Made, ServerAuthority

LARGE = bytes(range(256)) * 150  # fits what HTTP/2 lets through before the other end makes room
CODES = web.AppKey("codes", asyncio.Queue[int | None])
WAYS = ("HAProxy, HTTP/1.1", "HAProxy, HTTP/2", "nginx, HTTP/1.1")


async def chat(request: web.Request) -> web.WebSocketResponse:
    """An app: echoes, and closes with a code of its own when told `leave`."""
    opened = web.WebSocketResponse()
    await opened.prepare(request)
    async for message in opened:
        if message.data == "leave":
            await opened.close(code=4002, message="またね".encode())
        elif message.type is WSMsgType.TEXT:
            await opened.send_str(message.data)
        else:
            await opened.send_bytes(message.data)
    request.app[CODES].put_nowait(opened.close_code)
    return opened


@contextlib.asynccontextmanager
async def chatting_city(folder: Path, behind: Path) -> AsyncIterator[tuple[RunningCity, asyncio.Queue[int | None]]]:
    """The gateway with that app, listening for fronts on `behind`; the queue brings the codes that the app was told."""
    app = web.Application()
    app[CODES] = codes = asyncio.Queue[int | None]()
    app.router.add_get("/chat", chat)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with running_city(folder, SEKISHO_LISTENERS__BEHIND__ADDRESS=f"unix:{behind}") as city:
            await city.furnish(upstream=f"http://127.0.0.1:{runner.addresses[0][1]}")
            yield city, codes
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def fronts(folder: Path, behind: Path, made: Made, ca: Path) -> Iterator[dict[str, tuple[Front, type[Socket]]]]:
    """Both in front of `behind`: how each of `WAYS` is gone."""
    ports, pem = (free_port(), free_port()), folder / "front.pem"
    pem.write_bytes(made.pem + made.pair.key.read_bytes())
    (folder / "nginx").mkdir()
    with (
        haproxy(folder, ports[0], str(behind), pem),
        nginx(folder / "nginx", ports[1], str(behind), made.pair.certificate, made.pair.key),
    ):
        by_haproxy, by_nginx = (Front(port, HOST, str(ca)) for port in ports)
        yield {
            WAYS[0]: (by_haproxy, Http1Socket),
            WAYS[1]: (by_haproxy, Http2Socket),
            WAYS[2]: (by_nginx, Http1Socket),
        }


async def frames_pass(opened: Socket) -> None:
    """Both ways, small and large."""
    for kind, payload in ((TEXT, "受付".encode()), (TEXT, b""), (BINARY, LARGE)):
        await opened.say(kind, payload)
        assert await opened.hear() == (kind, payload)


async def close_codes_pass(opened: list[Socket], codes: asyncio.Queue[int | None]) -> None:
    """The app's code reaches the browser, the browser's reaches the app."""
    await opened[0].say(TEXT, b"leave")
    assert await opened[0].hear() == (CLOSE, (4002).to_bytes(2) + "またね".encode())
    await opened[0].say(CLOSE, (4002).to_bytes(2))
    assert await asyncio.wait_for(codes.get(), PATIENCE) == 4002
    await opened[1].say(CLOSE, (4001).to_bytes(2) + b"done")
    assert await asyncio.wait_for(codes.get(), PATIENCE) == 4001


async def revocation_is_told(city: RunningCity, opened: Socket, name: str, codes: asyncio.Queue[int | None]) -> None:
    """1008 with reason and 受付番号, then the end; the receipt counts the connection, the app just loses it."""
    answer = await city.steward.call(
        "session.end", selector={"user": name}, reason="session_revoked", message="", by="ciso", why="x"
    )
    assert sum(json.loads(json.loads(answer["receipt"])["receipt"])["closed"].values()) >= 1
    kind, payload = await opened.hear()
    assert (kind, int.from_bytes(payload[:2])) == (CLOSE, 1008)
    assert payload[2:].decode().startswith("session_revoked 受付番号 ")
    with pytest.raises(EOFError):
        await opened.hear()
    assert await asyncio.wait_for(codes.get(), PATIENCE) == WSCloseCode.ABNORMAL_CLOSURE


async def other_sites_are_refused(front: Front, kind: type[Socket], token: str) -> None:
    with pytest.raises(Refused, match="403" if kind is Http1Socket else b"403".hex()):
        await kind.open(front, token, "/chat", "https://evil.test")


async def its_end_is_on_record(city: RunningCity, name: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not any(  # noqa: ASYNC110  # the journal is all there is to look at
            each["sekisho.outcome"] == "session_revoked" for each in city.completed() if each.get("user.id") == name
        ):
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
@pytest.mark.promise("P3.clients-of-fronts-see-the-end")
@pytest.mark.promise("P1.behind-haproxy")
@pytest.mark.promise("P1.behind-nginx")
def test_websockets_through_the_fronts(tmp_path: Path) -> None:
    authority, behind = ServerAuthority(tmp_path), tmp_path / "b.sock"
    made = authority.issue("front", HOST)

    async def one_way(city: RunningCity, codes: asyncio.Queue[int | None], number: int, way: str) -> None:
        front, kind = ways[way]
        name = f"w{number}"
        token = await city.sign_in(name)
        opened = [await kind.open(front, token, "/chat") for _ in range(3)]
        for each in opened:
            await frames_pass(each)
        await close_codes_pass(opened, codes)
        await other_sites_are_refused(front, kind, token)
        await revocation_is_told(city, opened[2], name, codes)
        for each in opened:
            each.leave()
        await its_end_is_on_record(city, name)

    async def run() -> None:
        async with chatting_city(tmp_path, behind) as (city, codes):
            for number, way in enumerate(WAYS):
                await one_way(city, codes, number, way)
            plain = await Http2Socket.connected(ways[WAYS[2]][0])
            assert not plain.may_connect  # nginx takes no WebSocket over HTTP/2: browsers open another connection
            plain.leave()

    with fronts(tmp_path, behind, made, authority.ca) as ways:
        asyncio.run(run())
