"""The supervisor with real processes: each dies and comes back alone, and none outlives it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.query import Query
from audit.search import search
from tests.support.steward_process import ROOT, install

NAMES = ("steward", "auditor", "control", "worker-0", "worker-1")


class Supervisor:
    """The running program and what its status file says."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.small_supervisor", "--config", str(config)], cwd=ROOT,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 60)
        assert readable
        assert self.process.stdout.readline() == b"ready\n"

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.config.parent / "run" / "supervisor.json").read_text())
        return found

    def pids(self) -> dict[str, int | None]:
        return {each["name"]: each["pid"] for each in self.status()["processes"]}

    def until(self, true: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while not true(status := self.status()):
            assert time.monotonic() < end, status
            time.sleep(0.02)  # the status file has no event to wait for
        return status


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(install(tmp_path))
    yield supervisor
    supervisor.process.kill()
    supervisor.process.wait()


def ended(pid: int, seconds: float) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    readable, _, _ = select.select([pidfd], [], [], seconds)
    os.close(pidfd)
    return bool(readable)


def test_each_process_comes_back_alone(running: Supervisor) -> None:
    for name in NAMES:
        before = running.pids()
        pid = before[name]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        def back(status: dict[str, Any], name: str = name, pid: int = pid) -> bool:
            return any(each["name"] == name and each["ready"] and each["pid"] != pid for each in status["processes"])

        running.until(back)
        after = running.pids()
        assert {other for other in NAMES if before[other] != after[other]} == {name}
    died = _records(running, "process.died")
    assert {each["process.name"] for each in died} == set(NAMES)
    assert all(each["sekisho.signal"] == signal.SIGKILL for each in died)


def test_a_connection_waits_while_its_worker_is_away(running: Supervisor) -> None:
    """The accept queue belongs to the slot: connecting works before, during and after a worker's death."""
    host, _, port = running.status()["listeners"]["public"].rpartition(":")
    pid = running.pids()["worker-0"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for _ in range(16):
        socket.create_connection((host, int(port)), timeout=30).close()


@pytest.mark.promise("P1.children-die-with-supervisor")
def test_nobody_outlives_a_killed_supervisor(running: Supervisor) -> None:
    pids = [pid for pid in running.pids().values() if pid is not None]
    assert len(pids) == len(NAMES)
    running.process.kill()
    assert all(ended(pid, 30) for pid in pids)


def test_stops_in_order(running: Supervisor) -> None:
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(90) == 0
    order = [each["process.name"] for each in _records(running, "process.died")]
    assert set(order[:2]) == {"worker-0", "worker-1"}
    assert order[2:] == ["control", "steward", "auditor"]
    assert not (running.config.parent / "run" / "supervisor.json").exists()


def test_a_second_signal_kills_at_once(running: Supervisor) -> None:
    pid, other = running.pids()["worker-0"], running.pids()["worker-1"]
    assert pid is not None
    assert other is not None
    os.kill(pid, signal.SIGSTOP)  # it will not drain
    running.process.send_signal(signal.SIGTERM)
    assert ended(other, 20)
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(20)  # to drain it would have half a minute


def _records(running: Supervisor, action: str) -> list[dict[str, Any]]:
    found = search(running.config.parent / "journal", Query(filters={"event.action": action}, limit=100))
    return list(found)[::-1]
