"""Streams of events, ranges of downloads, uploads: what the app wrote, when it wrote it, in bounded memory."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from tests.support.aiohttp_app import behind
from tests.support.edge import read_head, read_request, running

# What sse-contract-tests sends to clients: every line end, comments, fields of each kind, a BOM, and no line at all.
EVENTS = (
    b"\xef\xbb\xbfdata: bom\n\n", b"data: cr\r\r", b"data: crlf\r\n\r\n", b"data: lf\n\n", b": comment\n\n",
    b"event: greeting\rdata: one\ndata: two\r\n\n", b"id: 1\nretry: 3000\n\n", b"data\n\n", b"data:\n\n", b"\r\n\r\n\r",
    "data: 受付番号\n\n".encode(), b"data: " + b"x" * 70_000 + b"\n\n", b"data: no end",
)  # fmt: skip


def pieces(data: bytes, seed: int) -> list[bytes]:
    """Cut `data` at random places, and at every place within the first bytes: CR and LF part too."""
    cuts = sorted({*range(60), *random.Random(seed).sample(range(60, len(data)), 40), len(data)})  # noqa: S311
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.promise("P1.events-unbuffered")
@pytest.mark.parametrize("seed", range(4))
def test_events_arrive_one_by_one_byte_by_byte(seed: int) -> None:
    """The app writes the next piece only when the client has the one before: whatever held one back would hang here."""
    stream = b"".join(EVENTS)
    parts = pieces(stream, seed)

    async def main() -> bytes:
        arrived = asyncio.Semaphore(0)

        async def events(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for part in parts:
                await response.write(part)
                await arrived.acquire()
            return response

        app = web.Application()
        app.router.add_get("/events", events)
        async with behind(app) as (_, client), client.get("/events") as answer:
            got = b""
            for part in parts:
                async with asyncio.timeout(30):
                    got += await answer.content.readexactly(len(part))
                arrived.release()
            return got + await answer.content.read()

    assert uvloop.run(main()) == stream


FILE = hashlib.shake_128(b"file").digest(3 * 2**20)


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-99", 206, 0, 100), ("bytes=-500", 206, len(FILE) - 500, len(FILE)),
        ("bytes=2000000-", 206, 2_000_000, len(FILE)), ("bytes=1048575-1048577", 206, 1_048_575, 1_048_578),
        ("bytes=9999999-", 416, 0, 0), ("", 200, 0, len(FILE)),
    ],
)  # fmt: skip
def test_a_range_of_a_download_is_what_the_app_gives(
    tmp_path: Path, asked: str, status: int, start: int, end: int
) -> None:
    """Range, Content-Range and validators pass both ways, so that a broken download can be resumed."""
    path = tmp_path / "file.bin"
    path.write_bytes(FILE)

    async def page(request: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/file", page)
        async with behind(app) as (_, client):
            whole = await client.head("/file")
            assert whole.headers["Content-Length"] == str(len(FILE))
            headers = {"Range": asked, "If-Range": whole.headers["Last-Modified"]} if asked else {}
            async with client.get("/file", headers=headers) as answer:
                assert answer.status == status
                body = await answer.read()
                if status == 206:
                    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(FILE)}"
                if status != 416:
                    assert body == FILE[start:end]
            stale = {"Range": "bytes=0-99", "If-Range": "Mon, 01 Jan 2001 00:00:00 GMT"}
            async with client.get("/file", headers=stale) as answer:
                assert (answer.status, len(await answer.read())) == (200, len(FILE))

    uvloop.run(main())


PIECE = hashlib.shake_128(b"piece").digest(2**18)
PIECES = 800  # 200 MiB
ROOM = 32 * 2**20


def peak() -> int:
    """The most memory this process had since `forget_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.promise("P1.uploads-in-constant-memory")
@pytest.mark.parametrize("length", [PIECES * len(PIECE), None], ids=["counted", "chunked"])
def test_an_upload_takes_no_memory(length: int | None) -> None:
    """200 MiB, with an app that stops reading on the way: client, gateway and app together stay within 32 MiB."""

    async def sent() -> AsyncIterator[bytes]:
        for _ in range(PIECES):
            yield PIECE

    async def take(request: web.Request) -> web.Response:
        digest = hashlib.blake2b()
        before = 0
        async for part in request.content.iter_any():
            digest.update(part)
            if before < 20 * len(PIECE) <= before + len(part):
                await asyncio.sleep(0.3)  # meanwhile the client would fill any buffer that has no bound
            before += len(part)
        return web.Response(text=digest.hexdigest())

    async def main() -> str:
        app = web.Application(client_max_size=0)
        app.router.add_put("/up", take)
        async with behind(app) as (edge, client):
            headers = {} if length is None else {"Content-Length": str(length)}
            async with client.put("/up", data=sent(), headers=headers) as answer:
                got = await answer.text()
            await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
            assert edge.gatekeeper.outcomes[0][1].request_bytes == PIECES * len(PIECE)
            return got

    expected = hashlib.blake2b()
    for _ in range(PIECES):
        expected.update(PIECE)
    forget_peak()
    before = peak()
    assert uvloop.run(main()) == expected.hexdigest()
    assert peak() - before < ROOM


@pytest.mark.parametrize("reads", [True, False])
def test_bug_the_end_of_a_last_answer_was_lost_on_slow_clients(reads: bool) -> None:
    """Two seconds after the last answer was written it was reset, however much a slow client had still to read."""
    body = FILE[:60_000]

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await reader.read()

    async def main() -> None:
        async with running(app) as edge:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", edge.port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
            writer.write(b"GET /a HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            await read_head(reader)
            await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
            sweeper, clock = edge.services.sweeper, edge.services.sweeper._clock
            later = 0.0
            for _ in range(8):
                later += 1.0
                sweeper._clock = lambda now=later: clock() + now  # type: ignore[misc]
                sweeper.sweep()
            assert len(edge.listeners) == 1
            if not reads:
                sweeper._clock = lambda: clock() + later + 10.0
                sweeper.sweep()
                assert len(edge.listeners) == 0
                writer.close()
                return
            got = b""
            while data := await reader.read(1000):
                got += data
            assert got == body
            sweeper._clock = lambda: clock() + later + 3.0
            sweeper.sweep()
            assert len(edge.listeners) == 0
            writer.close()

    uvloop.run(main())
