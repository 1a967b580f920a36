"""A new worker's snapshot of a large city: whole, in slices, and small for each session."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

from gateway.state.broadcast import Broadcast
from gateway.state.changes import Change
from gateway.state.feed import FeedClient
from gateway.state.records import Session
from gateway.state.tables import Tables
from gateway.state.view import View

ROOT = Path(__file__).parents[3]
SESSIONS = 50_000


def city() -> Tables:
    tables = Tables()
    tables.apply(7, [("session", f"s-{n}", _session(n)) for n in range(SESSIONS)])
    return tables


def _session(number: int) -> Session:
    token = hashlib.sha256(str(number).encode()).hexdigest()
    return Session(
        f"s-{number}", f"u-{number % 10_000}", token, ("pwd", "otp", "mfa"), "urn:sekisho:aal2", "totp", 1.0, 1.0, 9e9,
        1800.0, 1.0, None, "192.0.2.1", "Mozilla/5.0 " + "x" * 100, False, None, "",
    )  # fmt: skip


async def _nobody(_name: str, _pid: int) -> None:
    return


def test_fifty_thousand_sessions_arrive_in_slices(tmp_path: Path) -> None:
    async def run() -> tuple[View, float]:
        broadcast = Broadcast(city(), ack_limit=1.0, fence=_nobody, used=lambda _used: None)
        path = tmp_path / "f.sock"
        server = await broadcast.serve(path)
        view, longest = View(), 0.0
        client = FeedClient(path, "worker-0", view, lambda _change: {})
        running = asyncio.create_task(client.run())
        while not client.counted.is_set():
            cpu = time.thread_time()  # our own time, not that of others on the machine
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - cpu)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        server.close()
        return view, longest

    view, longest = asyncio.run(run())
    assert len(view.sessions) == len(view.portal_tokens) == SESSIONS
    assert view.revision == 7
    assert longest < 0.5  # without slices it is above a second


def bytes_a_session() -> float:
    """Return what one more session costs the view, in a process that does nothing else."""
    rows = [("session", f"s-{n}", _session(n).to_row()) for n in range(5000)]
    tracemalloc.start()
    view = View()
    before = tracemalloc.get_traced_memory()[0]
    # rows arrive as fresh strings from the wire, so each is copied first as decoding would
    for table, key, row in rows:
        fresh = {name: value[:1] + value[1:] if isinstance(value, str) else value for name, value in row.items()}
        view.apply([(table, key, fresh)], Change(1))
    return (tracemalloc.get_traced_memory()[0] - before) / 5000


def test_a_session_takes_less_than_a_kibibyte() -> None:
    alone = "from tests.unit.state.test_snapshot import bytes_a_session; print(bytes_a_session())"
    shown = subprocess.run([sys.executable, "-c", alone], cwd=ROOT, check=True, capture_output=True, text=True)

    assert float(shown.stdout) <= 1024
