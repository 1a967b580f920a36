"""TLS 1.3: a request over a kept connection, and a new connection with one request, by a full handshake or resumed.

`python -m benchmarks.secured SECONDS ROUNDS` prints JSON. All speak with the same P-256 certificate; the gateway asks
for a device certificate besides, as it does in operation, and gets none. Kept connections are loaded by wrk. New ones
are opened by threads of this process on the app's core, each of which checks that its handshakes were full or resumed
as they were meant to be; there, too, only the CPU of the server counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import nginx, progress, yardstick
from benchmarks.candidates import GATEWAY_CORE, LOAD_CORE, WARM, gateway, on_cores, token
from benchmarks.load import BODY, TARGET, request_bytes
from benchmarks.measure import THREADS, beside, cpu_seconds, write_script, wrk
from tests.support.ports import free_port
from tests.support.running_city import HOST

_CLIENTS: Final = 8  # threads that open new connections
WAYS: Final = {"kept": "µs", "new": "µs", "resumed": "µs"}


class HandshakeFault(Exception):
    """A handshake was resumed that should have been full, or the other way round, or the answer was not the app's."""


def asked(context: ssl.SSLContext, port: int, request: bytes, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Open a connection, ask once, close; return what resumes it. Raises HandshakeFault and OSError."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOST, session=session) as connection,
    ):
        connection.sendall(request)
        answer = b""
        while not answer.endswith(BODY):
            if not (more := connection.recv(65536)):
                raise HandshakeFault(f"the answer ended early: {answer[:200]!r}")
            answer += more
        if connection.session_reused != (session is not None):
            raise HandshakeFault(f"resumed: got {connection.session_reused}, expected {session is not None}")
        return connection.session


def opening(port: int, authority: str, number: int, until: float, *, resumed: bool) -> int:
    """Open one connection after the other until a monotonic time; return how many."""
    context = ssl.create_default_context(cadata=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    request = request_bytes(HOST, token(number))
    session = asked(context, port, request, None) if resumed else None
    opened = int(resumed)
    while time.monotonic() < until:
        latest = asked(context, port, request, session)
        session = latest if resumed else None
        opened += 1
    return opened


def new(port: int, authority: str, seconds: float, *, resumed: bool) -> int:
    """Have all threads open connections for so long; return how many there were."""
    until = time.monotonic() + seconds
    with on_cores({LOAD_CORE}), ThreadPoolExecutor(_CLIENTS) as threads:  # threads have the cores of who starts them
        each = partial(opening, port, authority, until=until, resumed=resumed)
        return sum(threads.map(each, range(_CLIENTS)))


def kept(port: int, script: Path, seconds: float) -> int:
    """Load kept-alive connections; return the requests that were answered."""
    return wrk(f"https://{HOST}:{port}{TARGET}", script, seconds, str(LOAD_CORE)).requests


def cost(pids: set[int], ask: Callable[[float], int], seconds: float) -> float:
    """CPU µs of one request, its connection included."""
    ask(WARM)
    before = cpu_seconds(pids)
    requests = ask(seconds)
    return (cpu_seconds(pids) - before) / requests * 1e6


async def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Let all take turns; return for each way the µs of each, and our ratios to the others."""
    taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_script(folder / "load.lua", HOST, [token(number) for number in range(THREADS)])
        app, front = free_port(), free_port()
        stack.enter_context(nginx.ended(nginx.start_app(folder, app, LOAD_CORE)))
        city, _ = await stack.enter_async_context(gateway(folder, app))
        tls = city.root / "tls"
        pair, authority = (tls / "server.pem", tls / "server.key"), (tls / "demo-ca.pem").read_text()
        proxy = stack.enter_context(nginx.ended(nginx.start_proxy(folder, front, app, GATEWAY_CORE, pair=pair)))
        turns = {
            "gateway": (int(city.status["listeners"]["public"].rpartition(":")[2]), {city.pid("worker-0")}),
            "nginx": (front, nginx.serving(proxy)),
            **stack.enter_context(yardstick.chains(folder, app, pair=pair)),
        }
        for _ in progress.rounds("secured", rounds):
            for way, rows in taken.items():
                row = {}
                for who in random.sample(sorted(turns), len(turns)):
                    port, pids = turns[who]
                    ask: Callable[[float], int] = (
                        partial(kept, port, folder / "load.lua") if way == "kept"
                        else partial(new, port, authority, resumed=way == "resumed")
                    )  # fmt: skip
                    row[who] = await asyncio.to_thread(cost, pids, ask, seconds)
                rows.append(row)
    return {way: beside(rows) for way, rows in taken.items()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]), int(sys.argv[2])))))
