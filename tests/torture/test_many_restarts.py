"""Five restarts under load, 10,000 requests: reloads, workers that are old, new programs; none fails, all on record."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.restarting_city import Browser, RestartingCity, restarting_city

CLIENTS = 32
REQUESTS = 10_000
BETWEEN = 1500  # requests from one restart to the next


async def reloaded(city: RestartingCity, count: int) -> None:
    """Other settings, another certificate."""
    serial = await city.renew_certificate()
    city.write_settings("limits", f"header_count = {count}")
    await city.reload()
    assert await city.served_serial() == serial


async def recycled(city: RestartingCity) -> None:
    """Old workers are replaced by themselves: one at a time, the next only when the former has drained."""
    city.write_settings("workers", "recycle_after = 6")
    await city.reload()
    async with asyncio.timeout(120):  # the supervisor's file is all there is to look at
        while city.city.status["retiring"]:  # noqa: ASYNC110 (a file)
            await asyncio.sleep(0.02)
        before = city.pids()
        while any(city.pids()[name] == before[name] for name in ("worker-0", "worker-1")):
            assert len(city.city.status["retiring"]) <= 1
            await asyncio.sleep(0.02)
    city.write_settings("limits")
    await city.reload()


async def replaced(city: RestartingCity, name: str) -> None:
    """Another program."""
    city.swap_program(name)
    await city.reload(program=True)
    await city.all_run(name)


@pytest.mark.one_stack
@pytest.mark.timeout(900)
@pytest.mark.promise("P1.ten-thousand-through-five-restarts")
@pytest.mark.promise("P1.old-workers-are-replaced")
def test_ten_thousand_requests_over_five_restarts(tmp_path: Path, figure: Callable[[str], None]) -> None:
    async def run() -> None:
        async with restarting_city(tmp_path) as city:
            clients, began = await city.clients(CLIENTS), time.monotonic()
            clients.start()
            for restart in (
                lambda: reloaded(city, 90), lambda: replaced(city, "two"), lambda: reloaded(city, 80),
                lambda: recycled(city), lambda: replaced(city, "one"),
            ):  # fmt: skip
                browser = await Browser.open(city)
                await clients.passed(BETWEEN)
                await restart()
                assert (await browser.closed())[0] == 1012
            await clients.passed(max(BETWEEN, REQUESTS - clients.done))
            await clients.stop()
            assert clients.failures == []
            await city.city.stop()
            found = city.agreement()
            assert found.faults == ()
            decided = Counter(
                each["url.path"] for each in city.city.records("worker-*")
                if each["event.action"] == "request.decided" and each["url.path"] != "/socket"
            )  # fmt: skip
            assert set(decided.values()) == {1}
            assert len(decided) == clients.done >= REQUESTS
            seconds = time.monotonic() - began
            figure(f"{clients.done} requests, 5 restarts, {seconds:.0f} s, {clients.last_answers} told to be last")

    asyncio.run(run())
