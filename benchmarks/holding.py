"""What an open connection that does nothing costs the worker in memory: kept-alive ones, and WebSockets; beside Go.

`python -m benchmarks.holding CONNECTIONS` prints JSON. Resident memory of the worker, which excludes the kernel's own
buffers, with so many connections beyond the first few hundred. Each kept-alive one has carried one request; over each
WebSocket the app says something once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from benchmarks import nginx, progress, yardstick
from benchmarks.candidates import LOAD_CORE, SESSIONS, gateway, token
from benchmarks.live_clients import Held, Ticket
from benchmarks.load import BODY, request_bytes
from tests.support.ports import free_port
from tests.support.running_city import HOST, ROOT

_FIRST: Final = 200  # connections after which the worker's own tables and pools have their size
_AT_ONCE: Final = 50
PAGE: Final = 4.0  # KiB: less than that is not seen, and nobody takes nothing


def resident(pid: int) -> float:
    """Resident memory of a process in KiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise ProcessLookupError(pid)
    return float(found[1])


class Kept(asyncio.Protocol):
    """A client that asks once and stays."""

    def __init__(self, number: int) -> None:
        self._request = request_bytes(HOST, token(number % SESSIONS))
        self._received = b""
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Wait for the end of the answer."""
        self._received += data
        if self._received.endswith(BODY) and not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """An answer that never came is a fault of the measurement."""
        if not self.answered.done():
            self.answered.set_exception(error or ConnectionError(self._received[:200]))


def start_streams() -> tuple[subprocess.Popen[str], int]:
    """Start the app behind the WebSockets; return it and its port. Raises BrokenPipeError where it says none."""
    command = [sys.executable, "-m", "benchmarks.streams"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    if process.stdout is None:
        raise BrokenPipeError("streams")
    return process, int(process.stdout.readline())


async def kept(port: int, number: int) -> asyncio.BaseTransport:
    """Open one kept-alive connection."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(lambda: Kept(number), "127.0.0.1", port)
    await client.answered
    return transport


async def socket(port: int, number: int) -> asyncio.BaseTransport:
    """Open one WebSocket; raises ConnectionError where it is refused."""
    loop = asyncio.get_running_loop()
    ticket = Ticket(f"m{number % SESSIONS}", token(number % SESSIONS))
    transport, client = await loop.create_connection(lambda: Held("socket", ticket), "127.0.0.1", port)
    if (said := await client.opened) != b"101":
        raise ConnectionError(said)
    return transport


async def each(
    opened: Callable[[int, int], Awaitable[asyncio.BaseTransport]], port: int, pid: int, count: int
) -> float:
    """Return the KiB that each of so many connections takes; all are closed again."""
    held: list[asyncio.BaseTransport] = []

    async def more(until: int) -> None:
        while len(held) < until:
            numbers = range(len(held), min(until, len(held) + _AT_ONCE))
            held.extend(await asyncio.gather(*(opened(port, number) for number in numbers)))

    await more(_FIRST)
    before = resident(pid)
    await more(_FIRST + count)
    taken = max(resident(pid) - before, PAGE) / count
    for transport in held:
        transport.close()
    await asyncio.sleep(0.5)
    return taken


async def measure(count: int) -> dict[str, Any]:
    """Run everybody, and hold connections open with one after the other."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kinds = {"kept": (kept, count), "socket": (socket, count // 2)}
    taken: dict[str, dict[str, float]] = {}
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        app = free_port()
        stack.enter_context(nginx.ended(nginx.start_app(folder, app, LOAD_CORE)))
        streams, speaking = start_streams()
        stack.enter_context(nginx.ended(streams))
        city, registered = await stack.enter_async_context(gateway(folder, app))
        port, worker = int(city.base.rpartition(":")[2]), city.pid("worker-0")
        for kind, (opened, number) in kinds.items():
            if kind == "socket":
                await city.put("app.put", app=replace(registered, upstream=f"http://127.0.0.1:{speaking}"))
            taken.setdefault("gateway", {})[kind] = await each(opened, port, worker, number)
            progress.step(f"holding: gateway, {kind}")
            # Fresh ones for each kind: the program has one app, and its heap keeps what it once took.
            with yardstick.chains(folder, app if kind == "kept" else speaking) as chains:
                for who, (front, pids) in chains.items():
                    taken.setdefault(who, {})[kind] = await each(opened, front, *pids, number)
                    progress.step(f"holding: {who}, {kind}")
    return {"connections": count, **summary(taken)}


def summary(taken: dict[str, dict[str, float]]) -> dict[str, Any]:
    """KiB by candidate and kind, and ours over the others'."""
    ours = taken["gateway"]
    ratio = {who: {kind: ours[kind] / kib[kind] for kind in ours} for who, kib in taken.items() if who != "gateway"}
    return {**taken, "ratio": ratio}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(int(sys.argv[1])))))
