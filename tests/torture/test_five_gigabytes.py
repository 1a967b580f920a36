"""Five gigabytes through a real worker, up and down: byte-identical, in constant memory, told of on the way."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import ClientTimeout, web

from tests.support.running_city import RunningCity, running_city

PIECE = hashlib.shake_128(b"piece").digest(1_000_000)
PIECES = 5_000
ROOM = 32 * 2**20  # bytes that the worker may grow by


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(PIECES):
        yield PIECE


def expected() -> str:
    digest = hashlib.blake2b()
    for _ in range(PIECES):
        digest.update(PIECE)
    return digest.hexdigest()


async def take(request: web.Request) -> web.Response:
    digest = hashlib.blake2b()
    async for part in request.content.iter_any():
        digest.update(part)
    return web.Response(text=digest.hexdigest())


async def give(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in pieces():
        await response.write(piece)
    return response


async def up(city: RunningCity) -> str:
    async with city.client() as client:
        headers = {"Content-Length": str(PIECES * len(PIECE))}
        async with client.post("/up", data=pieces(), headers=headers, timeout=ClientTimeout(None)) as answer:
            assert answer.status == 200
            return await answer.text()


async def down(city: RunningCity) -> str:
    digest = hashlib.blake2b()
    async with city.client() as client, client.get("/down", timeout=ClientTimeout(None)) as answer:
        assert answer.status == 200
        async for part in answer.content.iter_any():
            digest.update(part)
    return digest.hexdigest()


def peak(pid: int) -> int:
    """The most memory a process had since its peak was forgotten, in bytes."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak(pid: int) -> int:
    """Begin anew with what the process has now, and return that."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak(pid)


@pytest.mark.timeout(1800)
@pytest.mark.one_stack
@pytest.mark.promise("P1.five-gigabytes-in-constant-memory")
def test_five_gigabytes_pass_in_constant_memory(tmp_path: Path, figure: Callable[[str], None]) -> None:
    async def run() -> None:
        app = web.Application()
        app.router.add_post("/up", take)
        app.router.add_get("/down", give)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        settings = {"SEKISHO_WORKERS__COUNT": "1", "SEKISHO_JOURNAL__PROGRESS_EACH": "10"}
        whole = expected()
        async with running_city(tmp_path, **settings) as city:
            await city.furnish(upstream=f"http://127.0.0.1:{runner.addresses[0][1]}")
            worker = city.pid("worker-0")
            for name, passage in (("up", up), ("down", down)):
                before, begun = forget_peak(worker), time.monotonic()
                assert await passage(city) == whole
                grown, took = peak(worker) - before, time.monotonic() - begun
                figure(f"5 GB {name}: the worker grew by {grown / 2**20:.1f} MiB in {took:.0f} s")
                assert grown < ROOM
                told = [each for each in city.records() if each["event.action"] == "tunnel.progress"]
                told = [each for each in told if each["url.path"] == f"/{name}"]
                assert len(told) >= int((took - 3) / 10)
        await runner.cleanup()
        passed = sorted(each["http.request.body.bytes"] + each["http.response.body.bytes"] for each in city.completed())
        assert passed[0] == PIECES * len(PIECE) <= passed[1]

    asyncio.run(run())
