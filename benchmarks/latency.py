"""Latency at fixed rates, open loop: a request is sent when it is due, whether the one before was answered or not.

`python -m benchmarks.latency SECONDS ROUNDS` prints JSON. A latency counts from the moment at which its request was
due, so that a server that stalls cannot hide it by making the client wait (coordinated omission). The client runs in
this process on the app's core; on a shared machine the upper percentiles are mostly the neighbours', and
a timer's millisecond is in all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from benchmarks import nginx, progress, yardstick
from benchmarks.candidates import GATEWAY_CORE, LOAD_CORE, SESSIONS, gateway, token
from benchmarks.load import BODY, request_bytes
from benchmarks.measure import beside
from tests.support.ports import free_port
from tests.support.running_city import HOST

RATES: Final = (500, 2000)  # requests a second
CONNECTIONS: Final = 32
_PATIENCE: Final = 10.0  # seconds for the last answers
_SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class Asking(asyncio.Protocol):
    """One kept-alive connection: what is due while it waits for an answer is sent ahead, as browsers would wait."""

    def __init__(self, request: bytes, taken: list[float]) -> None:
        self._request = request
        self._taken = taken
        self._due: list[float] = []
        self._received = 0
        self._transport: asyncio.Transport | None = None
        self._answer = 0  # bytes of one answer, 0 = not known yet
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, due: float) -> None:
        """Send one request, due at a monotonic time; a pipelined one waits at the server. Raises ConnectionError."""
        if self._transport is None:
            raise ConnectionError("a connection ended")
        self._due.append(due)
        self._transport.write(self._request)

    @property
    def waiting(self) -> int:
        """How many answers are still to come."""
        return len(self._due)

    def data_received(self, data: bytes) -> None:
        """Note each answer's end."""
        now = time.monotonic()
        if not self._answer:
            self._first += data
            if not self._first.endswith(BODY) or not self._first.startswith(b"HTTP/1.1 200"):
                return
            self._answer = len(self._first)
            data = self._first
        self._received += len(data)
        while self._received >= self._answer:
            self._received -= self._answer
            self._taken.append(now - self._due.pop(0))

    def connection_lost(self, error: Exception | None) -> None:
        """It is told by the next request, or by answers that never come."""
        del error
        self._transport = None


async def at_rate(port: int, rate: int, seconds: float) -> dict[str, float]:
    """Return the percentiles in ms; raises TimeoutError where answers are missing."""
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    clients = []
    for number in range(CONNECTIONS):
        request = request_bytes(HOST, token(number % SESSIONS))
        _, client = await loop.create_connection(lambda request=request: Asking(request, taken), "127.0.0.1", port)
        client.ask(time.monotonic())
        clients.append(client)
    await _answered(clients)
    taken.clear()
    begun = time.monotonic()
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        clients[number % CONNECTIONS].ask(due)
    await _answered(clients)
    taken.sort()
    return {name: taken[int(share * (len(taken) - 1))] * 1e3 for name, share in _SHARES.items()}


async def _answered(clients: list[Asking]) -> None:
    async with asyncio.timeout(_PATIENCE):
        while any(client.waiting for client in clients):  # noqa: ASYNC110  # many ends, one look
            await asyncio.sleep(0.01)


async def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Let all take turns at each rate."""
    found: dict[str, list[dict[str, dict[str, float]]]] = {str(rate): [] for rate in RATES}
    os.sched_setaffinity(0, {LOAD_CORE})
    gc.freeze()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        app, front = free_port(), free_port()
        stack.enter_context(nginx.ended(nginx.start_app(folder, app, LOAD_CORE)))
        stack.enter_context(nginx.ended(nginx.start_proxy(folder, front, app, GATEWAY_CORE)))
        city, _ = await stack.enter_async_context(gateway(folder, app))
        chains = stack.enter_context(yardstick.chains(folder, app))
        ports = {"nginx": front, "gateway": int(city.base.rpartition(":")[2])}
        ports |= {who: port for who, (port, _) in chains.items()}
        for _ in progress.rounds("latency", rounds):
            for rate in RATES:
                row = {}
                for who in random.sample(sorted(ports), len(ports)):
                    row[who] = await at_rate(ports[who], rate, seconds)
                found[str(rate)].append(row)
    return summary(found)


def summary(found: dict[str, list[dict[str, dict[str, float]]]]) -> dict[str, Any]:
    """By rate: percentiles in ms of each one's best round, and our p50 over the others' of the same round."""
    return {
        rate: {
            "ms": {who: min((row[who] for row in rows), key=lambda each: each["p99"]) for who in rows[0]},
            "ratio": beside([{who: each["p50"] for who, each in row.items()} for row in rows])["ratio"],
        }
        for rate, rows in found.items()
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(float(sys.argv[1]), int(sys.argv[2])))))
