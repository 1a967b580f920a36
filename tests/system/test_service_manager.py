"""Under a service manager: what it is told and when, its watchdog, its socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_city import RunningCity, running_city

WATCHDOG = 2.0  # seconds


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self._waiting: deque[str] = deque()

    async def hears(self, state: str, within: float = 60.0) -> str:
        """Wait for the next state that begins so; return all of it."""
        async with asyncio.timeout(within):
            while True:
                while self._waiting:
                    if (told := self._waiting.popleft()).startswith(state):
                        return told
                datagram = await asyncio.get_running_loop().sock_recv(self.sock, 4096)
                self._waiting.extend(datagram.decode().split("\n"))

    def forget(self) -> None:
        """Throw away what waits."""
        self._waiting.clear()
        try:
            while self.sock.recv(4096):
                pass
        except BlockingIOError:
            return


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(tmp_path / "notify")
    yield found
    found.sock.close()


async def a_reload_is_told(city: RunningCity, manager: Manager) -> None:
    """RELOADING with its time, then READY: systemd takes a READY of before for what it is (sd_notify(3))."""
    before, began = {city.pid("worker-0"), city.pid("worker-1")}, time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    os.kill(city.status["pid"], signal.SIGHUP)
    await manager.hears("RELOADING=1")
    said = await manager.hears("MONOTONIC_USEC=")
    assert began <= int(said.partition("=")[2]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    await manager.hears("READY=1")
    assert before.isdisjoint({city.pid("worker-0"), city.pid("worker-1")})


async def a_stuck_steward_silences_the_watchdog(city: RunningCity, manager: Manager) -> None:
    """The process is there, but nothing can be decided any more: the service manager has to act."""
    await manager.hears("WATCHDOG=1")
    pid = city.pid("steward")
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(WATCHDOG)  # whatever was under way has ended
    manager.forget()
    with pytest.raises(TimeoutError):
        await manager.hears("WATCHDOG=1", within=2 * WATCHDOG)
    os.kill(pid, signal.SIGCONT)
    await manager.hears("WATCHDOG=1")


@pytest.mark.timeout(300)
@pytest.mark.promise("P1.watchdog-hears-of-real-health")
def test_as_a_service(tmp_path: Path, manager: Manager) -> None:
    async def run() -> None:
        environment = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(int(WATCHDOG * 1e6)),
            "SEKISHO_TIMEOUTS__DRAIN": "3",
        }  # fmt: skip
        async with running_city(tmp_path, "tests.support.activated_supervisor", **environment) as city:
            assert await manager.hears("READY=1") == "READY=1"
            await city.furnish()
            async with city.client() as client, client.get("/page") as answer:
                assert answer.status == 200  # over the one socket that both workers accept from
            await a_stuck_steward_silences_the_watchdog(city, manager)
            await a_reload_is_told(city, manager)
            os.kill(city.status["pid"], signal.SIGTERM)
            await manager.hears("STOPPING=1")

    asyncio.run(run())
