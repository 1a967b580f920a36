"""A steward that returns late: what lives is judged by its snapshot, and by its clock, not by the silence before."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.state.broadcast import Broadcast
from gateway.state.changes import Change
from gateway.state.feed import FeedClient
from gateway.state.tables import Tables
from gateway.state.view import View


async def nobody(worker: str, pid: int) -> None:
    raise AssertionError(f"{worker} ({pid}) was to be fenced")


@contextlib.asynccontextmanager
async def steward(path: Path, now: float) -> AsyncIterator[Broadcast]:
    """The feed of a steward that has said its time once."""
    feed = Broadcast(Tables(), ack_limit=1.0, fence=nobody, used=lambda _: None)
    feed.beat(now, "", clock_jumped=False)
    server = await feed.serve(path)
    try:
        yield feed
    finally:
        server.close()


@contextlib.asynccontextmanager
async def following(client: FeedClient) -> AsyncIterator[None]:
    """A worker that is connected meanwhile."""
    running = asyncio.create_task(client.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_steward_that_returns_late_is_no_reason_to_end_what_lives(tmp_path: Path) -> None:
    view, ages, returned = View(), list[float](), asyncio.Event()

    def on_change(change: Change) -> dict[str, int]:
        assert change.everything
        ages.append(view.age(time.monotonic()))
        returned.set()
        return {}

    async def run() -> None:
        client = FeedClient(tmp_path / "feed.sock", "worker-0", view, on_change)
        async with steward(tmp_path / "feed.sock", 1000.0), following(client):
            await asyncio.wait_for(client.counted.wait(), 30)
        view.beat_mono -= 20.0  # so long nothing was heard
        assert view.age(time.monotonic()) > 20
        async with steward(tmp_path / "feed.sock", 1020.0), following(client), asyncio.timeout(30):
            await returned.wait()

    asyncio.run(run())
    assert ages[0] < 15
