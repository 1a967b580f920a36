"""V5: no spelling of an identity header reaches an app, whichever way its server folds names."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import uvicorn
import uvloop
from aiohttp import web

from gateway.edge.blocks import KnownBlocks
from gateway.edge.reader import HeadReader
from gateway.edge.services import EdgeLimits
from gateway.gate import headers
from gateway.gate.request import Peer, RequestFault
from tests.support.edge import hello, running
from tests.support.http_feeds import feed

NAMES = sorted(headers._IDENTITY) + [family + b"user" for family in headers._IDENTITY_FAMILIES]
CASES: tuple[Callable[[bytes], bytes], ...] = (bytes.lower, bytes.upper, bytes.title, lambda n: n.title().swapcase())
SEPARATORS = (b"_", b".", b" ", b"\t", b"\xe2\x80\x90")
FIELDS_A_REQUEST = 80
PEER = Peer("10.0.0.1", 1, "loopback", "http", "")

Backend = Callable[[], AbstractAsyncContextManager[int]]


class Silent(WSGIRequestHandler):
    """No line on stderr for each request."""

    def log_message(self, *args: object) -> None:
        return None


def told(environ: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """A WSGI app that answers with what of its environment holds the forged value."""
    start("200 OK", [("Content-Type", "text/plain")])
    return [b" ".join([b"seen:", *(name.encode() for name, value in environ.items() if "forged" in str(value))])]


@contextlib.asynccontextmanager
async def wsgi() -> AsyncIterator[int]:
    """The standard library's WSGI server."""
    with make_server("127.0.0.1", 0, told, handler_class=Silent) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            await asyncio.to_thread(server.shutdown)
            thread.join()


@contextlib.asynccontextmanager
async def asgi() -> AsyncIterator[int]:
    """Uvicorn."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        names = [name for name, value in scope["headers"] if b"forged" in value]
        body = b" ".join([b"seen:", *names])
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, loop="asyncio", ws="none"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
        thread.start()
        while not server.started:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
            await asyncio.to_thread(thread.join)


@contextlib.asynccontextmanager
async def aiohttp_server() -> AsyncIterator[int]:
    """Aiohttp."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=" ".join(["seen:", *(n for n, v in request.headers.items() if "forged" in v)]))

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def test_v5_every_separator_but_the_hyphen_is_refused() -> None:
    """Apps fold them to one name: each hyphen alone and all of them, replaced by each other separator."""
    tried = 0
    for name, separator in itertools.product(NAMES, SEPARATORS):
        places = [at for at, byte in enumerate(name) if byte == ord("-")]
        spelled = {name[:at] + separator + name[at + 1 :] for at in places} | {name.replace(b"-", separator)}
        for spelling in spelled - {name}:
            tried += 1
            request = b"GET / HTTP/1.1\r\nHost: a\r\n%b: x\r\n\r\n" % spelling
            with pytest.raises(RequestFault) as refused:
                HeadReader(EdgeLimits(), KnownBlocks(), lambda host: None).take(request, PEER)
            assert refused.value.status == 400
    assert tried > 500


@pytest.mark.parametrize("backend", [wsgi, asgi, aiohttp_server])
def test_v5_no_case_of_an_identity_header_reaches_a_backend(backend: Backend) -> None:
    """Three servers that fold names in their own ways see none of them, and see a name that is no identity."""
    spelled = sorted({case(name) for name in NAMES for case in CASES})

    async def main() -> list[bytes]:
        async with backend() as port, running(hello, upstream=f"http://127.0.0.1:{port}") as edge:
            seen = []
            for at in range(0, len(spelled), FIELDS_A_REQUEST):
                lines = b"".join(b"%b: forged\r\n" % name for name in spelled[at : at + FIELDS_A_REQUEST])
                request = b"GET /a HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nX-Other: forged\r\n%b\r\n" % lines
                seen.append((await feed(edge.port, [request])).partition(b"\r\n\r\n")[2])
            return seen

    seen = uvloop.run(main())
    assert len(seen) >= 3
    assert {each.lower().replace(b"http_x_other", b"x-other") for each in seen} == {b"seen: x-other"}
