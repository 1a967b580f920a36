"""Clients for which nothing may fail: no refusal, no broken connection, no retry; whatever restarts meanwhile.

Half of them keep one connection until an answer says that it is the last, the other half open one for each request;
some are idle for long between two requests. Every second request is a POST, which nobody may send twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass, field

from tests.support.running_city import HOST

_BODY = b"x" * 1000
_ANSWER_WITHIN = 30.0  # seconds
PAUSES = (0.1, 0.2, 0.7, 1.3)  # seconds between two requests of one client


@dataclass
class StrictClients:
    """`done` counts requests answered as they should be; `failures` says what happened to every other one."""

    address: tuple[str, int]
    tokens: list[str]  # of one session for each client
    done: int = 0
    last_answers: int = 0  # that said that their connection ends
    failures: list[str] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    def start(self) -> None:
        """Begin."""
        kinds = itertools.cycle(itertools.product(PAUSES, (True, False)))
        self._tasks = [
            asyncio.create_task(self._client(number, pause, keeps=keeps))
            for number, (pause, keeps) in zip(range(len(self.tokens)), kinds, strict=False)
        ]

    async def passed(self, more: int) -> None:
        """Wait until so many more requests are done."""
        goal, until = self.done + more, time.monotonic() + 120
        while self.done < goal and not self.failures:  # many answers, one look
            assert time.monotonic() < until, self.done
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Let each client end the request that it is at."""
        self._stopping = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 60)

    async def _client(self, number: int, pause: float, *, keeps: bool) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for count in itertools.count():
            if self._stopping:
                break
            path = f"/c{number}/{count}"
            try:
                async with asyncio.timeout(_ANSWER_WITHIN):
                    connection = connection or await asyncio.open_connection(*self.address)
                    goes_on = await self._request(*connection, number, path, post=count % 2 == 1)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.failures.append(f"{path}: {error!r}")
                goes_on = False
            if connection is not None and not (goes_on and keeps):
                await _closed(connection[1])
                connection = None
            await asyncio.sleep(pause)
        if connection is not None:
            await _closed(connection[1])

    async def _request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, path: str, *, post: bool
    ) -> bool:
        """Make one request; return whether the connection can carry another."""
        head = f"{'POST' if post else 'GET'} {path} HTTP/1.1\r\nHost: {HOST}\r\n"
        head += f"Cookie: __Host-sekisho-app={self.tokens[number]}\r\n"
        writer.write(f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY if post else f"{head}\r\n".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(answer.partition(b"content-length: ")[2].split(b"\r\n", 1)[0]))
        if answer[9:12] != b"200" or body != b"ok":
            self.failures.append(f"{path}: {answer[:80]!r} {body[:400]!r}")
            return False
        self.done += 1
        last = b"connection: close" in answer
        self.last_answers += last
        return not last


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
