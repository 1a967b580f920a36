"""A step about devices: one that stops being compliant loses what it has open."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from cli.city.sign_in import browser, sign_in
from cli.tour.stage import Shown, Stage, require
from cli.tour.trail import journalled

_WITHIN = 30.0  # seconds: the MDM is read each second on the tour


async def falls_ill(stage: Stage) -> Shown:
    """Suzuki chats; his disk encryption is turned off; the open WebSocket ends and the record says why."""
    city = stage.city
    app = city.app("groupware").url
    async with browser(city, city.device("SHIMIN-PC-02")) as visitor:
        page = await sign_in(visitor, city, city.person("suzuki"), app)
        require(page.status == 200, f"before: {page.status}")
        origin = app.rstrip("/")
        async with visitor.http.ws_connect(f"{origin}/chat", headers={"Origin": origin}) as socket:
            await socket.send_str("まだ話せます")
            said = await asyncio.wait_for(socket.receive(), 10)
            require(said.type is aiohttp.WSMsgType.TEXT, "the socket did not work before")
            begun = time.monotonic()
            await _verb(stage, "decrypt", "SHIMIN-PC-02")
            async with asyncio.timeout(_WITHIN):
                while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    continue
            spent = time.monotonic() - begun
        refused = await visitor.open(app)
        require(refused.status == 403, f"afterwards: {refused.status}")
        await _verb(stage, "heal", "SHIMIN-PC-02")
    ended = [
        record for record in journalled(stage.root, "worker-*")
        if record.get("event.action") == "request.completed" and record.get("url.path") == "/chat"
        and record.get("user.name") == "suzuki"
    ]  # fmt: skip
    require(len(ended) == 1 and ended[0].get("sekisho.reason"), "the end of the socket is not recorded with its reason")
    return Shown(f"準拠から外れた端末の WebSocket が終了(理由 {ended[0]['sekisho.reason']})", f"{spent:.2f} s")


async def _verb(stage: Stage, verb: str, device: str) -> None:
    await stage.command("nobody", "mdm-sim", "do", verb, device, "--tenant", stage.city.mdm_sim.access_file)
