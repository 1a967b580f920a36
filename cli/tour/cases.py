"""A burst of refusals becomes one case, with its evidence and what to do; the CISO says that somebody looks into it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from cli.city.sign_in import browser, sign_in
from cli.tour.stage import NotShown, Shown, Stage, require

_KNOCKS = 40
_WITHIN = 30.0  # seconds until the case is listed


async def appears(stage: Stage) -> Shown:
    """yoshida's account, on a device that nobody knows, tries one address after the other."""  # noqa: D403
    city = stage.city
    await stage.log_in("yamamoto")
    async with browser(city) as visitor:
        page = await sign_in(visitor, city, city.person("yoshida"), city.app("groupware").url)
        require(page.status == 403, f"without a device: {page.status}")
        begun = time.monotonic()
        for number in range(_KNOCKS):
            async with visitor.http.get(f"{city.app('groupware').url}files/{number}") as answer:
                require(answer.status == 403, f"a knock was answered {answer.status}")
    case = await _case_of(stage, "yoshida")
    spent = time.monotonic() - begun
    shown = await stage.ask("yamamoto", "anomalies", "show", case["id"])
    require(shown["evidence"], "the case has no evidence")
    require("sekisho " in str(shown["command"]), "the case does not say what to do")
    await stage.command("yamamoto", "anomalies", "ack", case["id"], "--reason", "確認中", "--yes")
    state = (await stage.ask("yamamoto", "anomalies", "show", case["id"]))["state"]
    require(state == "acknowledged", f"the case is {state}")
    return Shown(f"続けての拒否が1件の事案に(根拠 {len(shown['evidence'])} 件、推奨操作つき)", f"{spent:.1f} s")


async def _case_of(stage: Stage, login: str) -> dict[str, Any]:
    end = time.monotonic() + _WITHIN
    while time.monotonic() < end:
        rows: list[dict[str, Any]] = await stage.ask("yamamoto", "anomalies", "ls")
        about = [row for row in rows if login in str(row["who"])]
        if about:
            require(len(about) == 1, f"one burst made {len(about)} cases")
            return about[0]
        await asyncio.sleep(0.5)
    raise NotShown(f"no case about {login} within {_WITHIN:.0f} s")
