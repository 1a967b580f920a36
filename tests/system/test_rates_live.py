"""A person's rate over two real workers: what her requests' app, the journals and her clients counted is within it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.hammering import hammering, served
from tests.support.running_city import RunningCity, running_city

RATE, BURST = 20, 20
SETTINGS = {
    "SEKISHO_LIMITS__SESSION_RATE__PER_SECOND": str(RATE), "SEKISHO_LIMITS__SESSION_RATE__BURST": str(BURST),
}  # fmt: skip
PAUSE = 0.05  # seconds between two requests of a connection: seven of them ask for several times the rate


def most(seconds: float) -> float:
    """More than this never passes in so many seconds."""
    return 1.25 * (RATE * seconds + BURST)


async def all_agree(city: RunningCity, passed: int) -> None:
    """The app saw, and the journals hold, what the clients were given; what was stopped is on record and counted."""
    assert len(city.app.seen) == passed
    assert all(city.app.decided_before)
    forwarded, limited = served(city, "forward"), served(city, "limited")
    assert sum(forwarded) == passed
    assert min(limited) > 0
    reasons = {each["sekisho.reason"] for each in city.records() if each.get("sekisho.verdict") == "limited"}
    assert reasons == {"rate_limited"}
    async with asyncio.timeout(60):
        while True:
            workers = (await city.steward.call("status"))["workers"]
            told = [each["counters"].get("limited", {}).get("session", 0) for each in workers]
            if sorted(told) == sorted(served(city, "limited")):
                return
            await asyncio.sleep(0.1)  # workers tell each 4 s


@pytest.mark.promise("P1.rates-hold-over-workers")
@pytest.mark.promise("P1.rates-hold-without-steward")
def test_a_session_keeps_to_its_rate_over_two_workers(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_city(tmp_path, **SETTINGS) as city:
            await city.furnish()
            async with hammering(city, PAUSE) as seen:
                await seen.until(passed=BURST + 5 * RATE)
                assert seen.passed <= most(seen.seconds())
                names = (await city.steward.call("status"))["shared_rates"]["names"]
                steward = city.pid("steward")
                os.kill(steward, signal.SIGSTOP)
                await asyncio.sleep(2.0)  # without an answer, but its last heartbeat still counts
                assert seen.passed <= most(seen.seconds())
                os.kill(steward, signal.SIGKILL)
                await city.back("steward", steward)
                so_far = seen.passed
                await seen.until(passed=so_far + 3 * RATE)
                assert seen.passed <= most(seen.seconds())
            assert names == 1
            assert seen.retry_after <= {"1", "2"}
            assert set(seen.others) <= {503}  # while no steward's heartbeat counts
            await all_agree(city, seen.passed)

    asyncio.run(run())
