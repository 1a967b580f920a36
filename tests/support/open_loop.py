"""People who click when they do, however long others wait: an open loop. And an app that serves few at once.

`python -m tests.support.open_loop HOST PORT RATE SECONDS` is the people, in a process of their own: see `clicks`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from tests.support.edge import read_request
from tests.support.running_city import HOST, RunningCity
from tests.support.steward_process import ROOT

_PLACES = [f"127.0.0.{number}" for number in range(2, 42)]  # of none come more connections than it has ports


@dataclass
class SlowApp:
    """An app of a few threads: what is more waits for one of them."""

    at_once: int
    each: float
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._threads = asyncio.Semaphore(self.at_once)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write down which request came, and answer it in its time."""
        while head := (await read_request(reader))[0]:
            name = re.search(rb"\r\nX-Sekisho-Request-Id: (\S+)\r\n", head, re.IGNORECASE)
            assert name is not None, head
            self.seen.append(name[1].decode())
            async with self._threads:
                await asyncio.sleep(self.each)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()


@dataclass
class Answers:
    """What came of many clicks."""

    by_status: Counter[int] = field(default_factory=Counter)  # 0 = no whole head came
    refused_within: list[float] = field(default_factory=list)  # seconds from when it was due, of each 503
    without_time: int = 0  # 503 that named no time to come back

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Answers:
        """Return what another process told of them."""
        by_status = Counter({int(status): count for status, count in told["by_status"].items()})
        return cls(by_status, told["refused_within"], told["without_time"])

    def enter(self, received: bytes, took: float) -> None:
        """Enter one answer, as far as it came."""
        head, whole, _ = received.partition(b"\r\n\r\n")
        status = int(head[9:12]) if whole else 0
        self.by_status[status] += 1
        if status == 503:
            self.refused_within.append(took)
            self.without_time += b"\r\nretry-after: " not in head.lower()


class _Click(asyncio.Protocol):
    """One request on a connection of its own."""

    def __init__(self, request: bytes, due: float, answers: Answers) -> None:
        self._request = request
        self._due = due
        self._answers = answers
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Leave with the head of the answer: nothing of its body is of use."""
        self._received += data
        if b"\r\n\r\n" in self._received and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._answers.enter(self._received, time.monotonic() - self._due)


async def _clicks(address: tuple[str, int], cookie: str, rate: float, seconds: float) -> Answers:
    answers = Answers()
    request = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nAccept: application/json\r\n\r\n".encode()
    loop = asyncio.get_running_loop()

    async def one(due: float, place: str) -> None:
        try:
            await loop.create_connection(lambda: _Click(request, due, answers), *address, local_addr=(place, 0))
        except OSError:
            answers.enter(b"", time.monotonic() - due)

    begun, count = time.monotonic(), int(rate * seconds)
    opening: set[asyncio.Task[None]] = set()
    for number in range(count):
        due = begun + number / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        opening.add(task := asyncio.create_task(one(due, _PLACES[number % len(_PLACES)])))
        task.add_done_callback(opening.discard)
    async with asyncio.timeout(60):
        while answers.by_status.total() < count:  # noqa: ASYNC110  # many ends, one look
            await asyncio.sleep(0.1)
    return answers


async def clicks(city: RunningCity, rate: float, seconds: float) -> Answers:
    """Ask `rate` times a second, each when it is due; return what came of all. Raises RuntimeError."""
    host, _, port = city.base.removeprefix("http://").rpartition(":")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.open_loop", host, port, str(rate), str(seconds), cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await process.communicate(f"__Host-sekisho-app={city.token}".encode())
    if process.returncode:
        raise RuntimeError(f"the clicks ended with {process.returncode}")
    return Answers.of(json.loads(told))


def main() -> None:
    """Read the cookie from stdin, click, and write what came of it as JSON."""
    host, port, rate, seconds = sys.argv[1:]
    answers = uvloop.run(_clicks((host, int(port)), sys.stdin.read(), float(rate), float(seconds)))
    sys.stdout.write(json.dumps(vars(answers)))


if __name__ == "__main__":
    main()
