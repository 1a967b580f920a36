"""Clients that keep asking while processes die: GET, POST with a length, POST in chunks, uploads that are given up."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter

from tests.support.running_city import HOST

_PAUSE = 0.04  # seconds between two requests of one client
_BODY = b"x" * 3000


class SteadyLoad:
    """Some clients, each on kept-alive connections of its own.

    `answers` counts statuses, 0 = the connection broke; `gets` those of GET requests alone.
    """

    def __init__(self, address: str, tokens: list[str]) -> None:
        host, _, port = address.rpartition(":")
        self._address = host, int(port)
        self._tokens = tokens
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self.answers: Counter[int] = Counter()
        self.gets: Counter[int] = Counter()

    def start(self, clients: int) -> None:
        """Begin."""
        self._tasks = [
            asyncio.create_task(self._client(random.Random(number), token))  # noqa: S311  # the same mix in each run
            for number, token in zip(range(clients), itertools.cycle(self._tokens), strict=False)
        ]

    async def stop(self) -> None:
        """Let each client end the request that it is at."""
        self._stopping = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 90)

    async def passed(self, more: int) -> None:
        """Wait until so many more requests were answered with 200."""
        goal = self.answers[200] + more
        until = time.monotonic() + 90
        while self.answers[200] < goal:  # many answers, one look
            assert time.monotonic() < until, self.answers
            await asyncio.sleep(0.02)

    async def _client(self, dice: random.Random, token: str) -> None:
        while not self._stopping:
            writer = None
            try:
                async with asyncio.timeout(30):
                    reader, writer = await asyncio.open_connection(*self._address)
                while not self._stopping:
                    await asyncio.sleep(_PAUSE)
                    if not await self._request(reader, writer, dice, token):
                        break
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                self.answers[0] += 1
                await asyncio.sleep(_PAUSE)
            finally:
                if writer is not None:
                    with contextlib.suppress(OSError):
                        writer.transport.abort()

    async def _request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dice: random.Random, token: str
    ) -> bool:
        """Make one request; return whether the connection can carry another."""
        kind = dice.choice(("get", "get", "get", "length", "chunks", "given up"))
        method = "GET" if kind == "get" else "POST"
        head = f"{method} /{kind.replace(' ', '-')}/{dice.randrange(100)} HTTP/1.1\r\nHost: {HOST}\r\n"
        head += f"Cookie: __Host-sekisho-app={token}\r\n"
        if kind == "get":
            writer.write(f"{head}\r\n".encode())
        elif kind == "chunks":
            writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            writer.write(b"bb8\r\n" + _BODY + b"\r\n0\r\n\r\n")
        else:
            writer.write(f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode())
            writer.write(_BODY if kind == "length" else _BODY[:1000])
        if kind == "given up":
            await asyncio.sleep(dice.choice((0.0, 0.01, 0.1)))
            return False
        async with asyncio.timeout(30):
            answer = await reader.readuntil(b"\r\n\r\n")
            fields = answer.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]
            await reader.readexactly(int(fields or b"0"))
        self.answers[int(answer[9:12])] += 1
        if kind == "get":
            self.gets[int(answer[9:12])] += 1
        return b"connection: close" not in answer.lower()
