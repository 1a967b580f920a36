"""The MDM behind a running gateway: what fails is recorded, told to people, and forgets nothing; then it recovers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.state.records import Lock
from tests.support.device_city import DeviceCity, device_city


class Receiver:
    """Somebody's webhook: keeps what it is sent and checks who sent it."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.alerts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        at, _, given = request.headers["X-Sekisho-Signature"].removeprefix("t=").partition(",v1=")
        wanted = hmac.new(self._secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(wanted, given)
        self.alerts.put_nowait(json.loads(body))
        return web.Response(status=204)

    async def told(self, kind: str) -> dict[str, Any]:
        """The next alert of this kind."""
        async with asyncio.timeout(120):
            while (alert := await self.alerts.get())["kind"] != kind:
                pass
            return alert


async def _mdm_fails(city: DeviceCity, receiver: Receiver) -> None:
    before = await city.devices()
    for count, (kind, code) in enumerate(
        (("down", "unavailable"), ("garbage", "answer_invalid"), ("forbidden", "forbidden")), 1
    ):
        city.simulator.faults.set(kind)
        failed = await city.until(
            lambda r, code=code: r["event.action"] == "posture.failed" and r["error.code"] == code,  # type: ignore[misc]
            "control",
        )
        assert failed["sekisho.count"] >= count
    alert = await receiver.told("mdm_stale")
    assert "続けて 3 回失敗" in alert["text"]
    after = await city.devices()
    assert {name: (d.compliant, d.encrypted) for name, d in after.items()} == {
        name: (d.compliant, d.encrypted) for name, d in before.items()
    }
    assert all((after[name].read_at or 0) < time.time() - 10 for name in after)
    city.simulator.faults.set("none")
    recovered = await city.until(lambda r: r["event.action"] == "posture.recovered", "control", within=120)
    assert recovered["sekisho.count"] >= 3


async def _worker_fenced(city: DeviceCity, receiver: Receiver) -> None:
    os.kill(next(each["pid"] for each in city.status["processes"] if each["name"] == "worker-1"), signal.SIGSTOP)
    lock = Lock("l9", "user", "nobody", "", "訓練", "ciso", time.time(), None)
    await city.put("lock.add", lock=lock)
    alert = await receiver.told("worker_fenced")
    assert "worker-1" in alert["text"]


@pytest.mark.promise("P1.failing-mdm-forgets-nothing")
def test_a_failing_mdm_is_recorded_told_and_recovered_from(tmp_path: Path) -> None:
    async def main() -> None:
        secret = tmp_path / "webhook.secret"
        receiver = Receiver("s3cret-of-the-hook")
        secret.write_text("s3cret-of-the-hook\n")
        settings = {
            "SEKISHO_ALERTS__WEBHOOK__URL": await receiver.start(),
            "SEKISHO_ALERTS__WEBHOOK__SECRET_FILE": str(secret),
        }
        try:
            async with device_city(tmp_path, **settings) as city:
                synced = await city.until(lambda r: r["event.action"] == "posture.synced", "control")
                assert (synced["sekisho.posture.devices"], synced["sekisho.posture.changed"]) == (2, 2)
                await _worker_fenced(city, receiver)
                await _mdm_fails(city, receiver)
                assert "s3cret" not in "".join(map(str, city.records("*")))
        finally:
            await receiver.stop()

    asyncio.run(main())
