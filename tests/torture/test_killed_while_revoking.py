"""The steward killed around a revocation, again and again: an answer holds; without one it is whole or never was."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.crowd import Crowd, streaming_city
from benchmarks.live_clients import Held, Ticket
from gateway.state.steward_client import StewardUnavailable

ROUNDS = 20
CONNECTIONS = 12
ASKED = 8  # new connections, so that both workers are asked
LATEST = 0.03  # seconds after the command was sent at which the steward is killed; an answer takes about 10 ms here
SOONER, LATER = 0.8, 1.25  # the next kill, after an answer and after none: about half are answered on any machine


async def statuses(crowd: Crowd, ticket: Ticket) -> set[bytes]:
    """How new requests of a session are answered."""
    asked = [await crowd.one("page", ticket) for _ in range(ASKED)]
    found = {await asyncio.wait_for(each.opened, 10) for each in asked}
    for each in asked:
        each.leave()
    return found


async def followed(crowd: Crowd) -> None:
    """Wait until both workers know all that the steward knows."""
    async with asyncio.timeout(30):
        while True:
            said = await crowd.city.steward.call("status")
            known = [each["revision"] for each in said["workers"] if each["connected"]]
            if known == [said["revision"]] * 2:
                return
            await asyncio.sleep(0.05)


async def settled(held: list[Held], over: bool) -> None:
    """Wait until every connection has ended, or carried something more."""
    before = [each.received for each in held]
    async with asyncio.timeout(10):
        for each, received in zip(held, before, strict=True):
            while not (each.lost if over else each.kind == "upload" or each.received > received):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def one_round(crowd: Crowd, within: float) -> str:
    """Kill it so many seconds after it was asked; return what came of the session."""
    ticket = await crowd.ticket(await crowd.person("leaving"))
    held = await crowd.hold(CONNECTIONS, [ticket])
    assert await statuses(crowd, ticket) == {b"200"}
    former = crowd.city.pid("steward")
    revoking = asyncio.create_task(crowd.revoke(sessions=[ticket.session]))
    await asyncio.sleep(within)
    os.kill(former, signal.SIGKILL)
    try:
        told = sum((await revoking).closed.values())
    except StewardUnavailable:
        told = -1
    await crowd.city.back("steward", former)
    await followed(crowd)
    found = await statuses(crowd, ticket)
    over = found == {b"401"}
    assert over or (found == {b"200"} and told < 0)
    assert told in (-1, CONNECTIONS)
    await settled(held, over)
    assert [bool(each.lost) for each in held] == [over] * CONNECTIONS
    for each in held:
        each.leave()
    return "answered" if told >= 0 else "ended unanswered" if over else "not ended"


@pytest.mark.timeout(600)
@pytest.mark.one_stack
@pytest.mark.promise("P3.killed-while-revoking")
def test_a_revocation_is_whole_or_has_not_been(tmp_path: Path, figure: Callable[[str], None]) -> None:
    dice = random.Random(20261122)  # noqa: S311  # the same chances in each run
    came: Counter[str] = Counter()

    async def run() -> float:
        latest = LATEST
        async with streaming_city(tmp_path) as crowd:
            for _ in range(ROUNDS):
                what = await one_round(crowd, dice.uniform(0, latest))
                latest *= SOONER if what == "answered" else LATER
                came[what] += 1
        return latest

    latest = asyncio.run(run())
    longest = f"{LATEST * 1e3:.0f} (first) to {latest * 1e3:.0f} ms (last)"
    figure(f"{ROUNDS} kills of the steward within {longest} of a revocation: {dict(came)}")
    assert came["answered"]
    assert len(came) > 1
