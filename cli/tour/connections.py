"""Open connections of three kinds, each watched by a client that reads at once until it ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

import aiohttp

from cli.city.browser import Browser
from cli.city.document import City

KINDS = ("websocket", "events", "download")
_AT_ONCE = 16  # opened at the same time
_DOWNLOAD = "download?bytes=1073741824&rate=65536"
_OPEN_WITHIN = 60.0  # seconds
_LINGER = 1.0  # seconds before an ended client tidies up: its work would else delay what the others see


@dataclass(slots=True)
class Watched:
    """One connection. `ended_at` is in seconds since the epoch, 0.0 while it lives; `cut` = it ended by a reset."""

    kind: str
    task: asyncio.Task[None]
    began: asyncio.Event
    ended_at: float = 0.0
    cut: bool = False


async def open_all(visitor: Browser, city: City, count: int) -> list[Watched]:
    """Open `count` connections, the kinds in turn; returns when each has received something. Raises TimeoutError."""
    room = asyncio.Semaphore(_AT_ONCE)
    opened = [_watch(visitor, city, KINDS[number % len(KINDS)], room) for number in range(count)]
    async with asyncio.timeout(_OPEN_WITHIN):
        await asyncio.gather(*(each.began.wait() for each in opened))
    return opened


async def close_some(opened: list[Watched], count: int) -> list[Watched]:
    """Close the first `count` ourselves; returns those that stay open."""
    for each in opened[:count]:
        each.task.cancel()
    await asyncio.gather(*(each.task for each in opened[:count]), return_exceptions=True)
    return opened[count:]


async def ended(opened: list[Watched], within: float) -> bool:
    """Wait until all have ended; False where one still lives after `within` seconds."""
    _, living = await asyncio.wait([each.task for each in opened], timeout=within)
    return not living


def _watch(visitor: Browser, city: City, kind: str, room: asyncio.Semaphore) -> Watched:
    began = asyncio.Event()
    read = {"websocket": _websocket, "events": _stream, "download": _stream}[kind]
    path = {"websocket": "chat", "events": "notices", "download": _DOWNLOAD}[kind]
    url = city.app("zeimu" if kind == "download" else "groupware").url + path

    async def live() -> None:
        async with contextlib.AsyncExitStack() as held:
            try:
                await read(visitor, url, began, room, held)
            except (aiohttp.ClientError, ConnectionError):
                watched.cut = True
            watched.ended_at = time.time()
            await asyncio.sleep(_LINGER)

    watched = Watched(kind, asyncio.create_task(live()), began)
    return watched


async def _websocket(
    visitor: Browser, url: str, began: asyncio.Event, room: asyncio.Semaphore, held: contextlib.AsyncExitStack
) -> None:
    origin = url.rpartition("/")[0]
    async with room:
        opening = visitor.http.ws_connect(url, headers={"Origin": origin}, autoclose=False)
        socket = await held.enter_async_context(opening)
    await socket.send_str("!")  # everyone hears it, the sender too
    while True:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise aiohttp.ClientConnectionError(str(message.type))
        began.set()


async def _stream(
    visitor: Browser, url: str, began: asyncio.Event, room: asyncio.Semaphore, held: contextlib.AsyncExitStack
) -> None:
    async with room:
        answer = await held.enter_async_context(visitor.http.get(url))
    if answer.status != 200:
        raise aiohttp.ClientResponseError(answer.request_info, (), status=answer.status)
    while await answer.content.readany():
        began.set()
