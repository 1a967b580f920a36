"""Bodies that nobody takes, of apps that do not read and of clients that do not: what they hold is bounded in all."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import random
import ssl
from pathlib import Path

import pytest
import uvloop

from gateway.edge.arriving import LEFT
from gateway.edge.services import EdgeLimits
from gateway.edge.sockets import READ, READ_BODY
from tests.support.edge import Edge, Handler, hello, read_head, running
from tests.support.server_pairs import ServerAuthority, server_context
from tests.unit.edge.test_long_bodies import LONG, OK, SIZE, asking, blob, bringing, narrow

Trusting = ssl.SSLContext | None

ROOM = 2**20
UPLOADS = 3
READERS = 24


def app_until(stuck: asyncio.Event) -> Handler:
    """An app that reads no body before `stuck` is set, and gives each path a body of its own."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await read_head(reader)
                text = blob(int(head.split(b" ")[1][1:]))
                if head.startswith(b"POST"):
                    await stuck.wait()
                    text = hashlib.sha256(await reader.readexactly(LONG)).digest()
                writer.write(OK % len(text) + text)
        writer.close()

    return app


async def connected(edge: Edge, trusting: Trusting) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect with little room for what is not read, over TLS where there is somebody to trust."""
    sock = narrow()
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", edge.port))
    name = None if trusting is None else "app.test"
    return await asyncio.open_connection(sock=sock, ssl=trusting, server_hostname=name, limit=16384)


async def bring(edge: Edge, number: int, trusting: Trusting) -> None:
    """Upload a body; the app has to have it whole."""
    body = random.Random(number).randbytes(LONG)  # noqa: S311  # the same bytes in each run
    reader, writer = await connected(edge, trusting)
    writer.write(bringing(number, LONG) + body)
    await read_head(reader)
    assert await reader.readexactly(32) == hashlib.sha256(body).digest()
    writer.close()


async def take(edge: Edge, number: int, stuck: asyncio.Event, trusting: Trusting) -> None:
    """Download a body, of which nothing is read before `stuck` is set."""
    reader, writer = await connected(edge, trusting)
    writer.write(asking(number))
    await read_head(reader)
    await stuck.wait()
    assert await reader.readexactly(SIZE) == blob(number)
    writer.close()


async def all_stand(edge: Edge, trusting: Trusting) -> int:
    """Wait until nobody's body gets on; one more client, that reads, is served. Returns what is left then."""
    async with asyncio.timeout(30):
        while sum(each.held or each.full for each in edge.listeners._connections) < UPLOADS + READERS:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    left = LEFT.bytes
    reader, writer = await connected(edge, trusting)
    writer.write(asking(99))
    await read_head(reader)
    assert await reader.readexactly(SIZE) == blob(99)
    writer.close()
    return left


@pytest.mark.parametrize("encrypted", [False, True])
def test_bodies_that_wait_are_bounded_in_all(tmp_path: Path, encrypted: bool) -> None:
    """Beyond the bound reads are narrow: whoever reads is served, and later everybody has every byte."""
    authority = ServerAuthority(tmp_path)
    pair = authority.issue("app", "app.test").pair
    served = server_context(pair.certificate, pair.key, None) if encrypted else None
    trusting = ssl.create_default_context(cafile=str(authority.ca)) if encrypted else None

    async def main() -> tuple[int, int]:
        stuck = asyncio.Event()
        server = await asyncio.start_server(app_until(stuck), "127.0.0.1", 0, limit=16384)
        at = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        listener, limits = "public" if encrypted else "loopback", EdgeLimits(unsent_bytes=ROOM)
        async with server, running(hello, listener=listener, tls=served, limits=limits, upstream=at) as edge:
            brought = asyncio.gather(*(bring(edge, each, trusting) for each in range(UPLOADS)))
            taken = asyncio.gather(*(take(edge, each, stuck, trusting) for each in range(READERS)))
            left = await all_stand(edge, trusting)
            stuck.set()
            await brought
            await taken
            return left, edge.services.reached["unsent_bytes"]

    gc.collect()
    before = LEFT.bytes
    left, reached = uvloop.run(main())
    assert 0 < left <= ROOM + READ + READ_BODY  # the pieces that were in use when the bound was reached
    assert reached > 0
    gc.collect()
    assert LEFT.bytes <= before
