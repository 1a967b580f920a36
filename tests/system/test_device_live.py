"""Live connections end when what allowed them changes: posture, groups, policy, a lock; the others stay open."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.state.records import Lock
from tests.support.device_city import POLICY, DeviceCity, device_city, is_over, lives, stream_is_over
from tests.support.steward_process import user


async def _ends(city: DeviceCity, change: Any, reason: str) -> None:
    """After `change` (a coroutine), everything of s0001 ends with `reason` in its record, nothing of s0002 does."""
    devices = await city.devices()
    first, second = devices["PC-1"], devices["PC-2"]
    one = await city.person(1, first)
    two = await city.person(2, second, groups=("tax", "second"))
    async with (
        city.browser(one, city.certificate(first)) as mine,
        city.browser(two, city.certificate(second)) as other,
    ):
        assert (await mine.get("/list"))[0] == 200
        socket, events = await mine.socket(), await mine.events()
        stays = await other.socket()
        begun = time.monotonic()
        await change
        assert await is_over(socket)
        assert await stream_is_over(events)
        print(f"{reason}: both ended {time.monotonic() - begun:.2f} s after the change")  # noqa: T201
        assert await lives(stays)
        status, page = await mine.get("/list")
        assert status == 403, page
        await stays.close()
    async with asyncio.timeout(60):
        while len(ended := _reasons(city, one)) < 2:  # noqa: ASYNC110 (nobody waits for completions, nor tells of them)
            await asyncio.sleep(0.05)
    assert ended == [reason] * 2


def _reasons(city: DeviceCity, session: str) -> list[str]:
    """Why requests of a session were ended."""
    mine = [record for record in city.completed("worker-?") if record.get("sekisho.session.id") == session]
    return [record["sekisho.reason"] for record in mine if record.get("sekisho.reason")]


async def _decrypt(city: DeviceCity) -> None:
    city.simulator.world.decrypt("PC-1", time.time())


async def _leave_group(city: DeviceCity) -> None:
    await city.put("user.put", user=replace(user(1), groups=("parks",)))


async def _forbid(city: DeviceCity) -> None:
    await city.activate(POLICY.replace("any_of: [tax] }", "any_of: [second] }").replace("[tax]", "[second]"))


async def _lock_group(city: DeviceCity) -> None:
    lock = Lock("l1", "group", "first", "点検中です", "訓練", "ciso", time.time(), None)
    await city.put("user.put", user=replace(user(1), groups=("tax", "first")))
    await city.put("lock.add", lock=lock)


async def _compliant_again(city: DeviceCity) -> None:
    """Wait until the gate lets PC-1 pass: the record of a change goes before it."""
    first = (await city.devices())["PC-1"]
    async with city.browser(await city.person(1, first), city.certificate(first)) as browser, asyncio.timeout(60):
        while (await browser.get("/list"))[0] != 200:  # noqa: ASYNC110 (the answer is all there is to look at)
            await asyncio.sleep(0.05)


@pytest.mark.promise("P3.posture-change-ends-live")
@pytest.mark.promise("P3.group-change-ends-live")
@pytest.mark.promise("P3.policy-change-ends-live")
@pytest.mark.promise("P3.group-lock-ends-live")
def test_what_is_no_longer_allowed_ends_and_the_rest_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with device_city(tmp_path) as city:
            await city.furnish_app()
            await _ends(city, _decrypt(city), "unmet_conditions")
            changed = await city.until(
                lambda r: r["event.action"] == "device.changed" and "encrypted" in r["sekisho.device.changes"]
                and r["sekisho.device.changes"]["encrypted"] == [True, False], "control",
            )  # fmt: skip
            assert changed["sekisho.device.changes"]["compliant"] == [True, False]
            city.simulator.world.heal("PC-1", time.time())
            await city.until(
                lambda r: r["event.action"] == "device.changed"
                and r["sekisho.device.changes"].get("encrypted") == [False, True], "control",
            )  # fmt: skip
            await _compliant_again(city)
            await _ends(city, _leave_group(city), "no_applicable_rule")
            await _ends(city, _lock_group(city), "group_locked")
            await city.steward.call("lock.remove", id="l1", by="ciso", reason="訓練の終わり")
            await _ends(city, _forbid(city), "no_applicable_rule")

    asyncio.run(main())
