"""The CISO ends one person's sessions: every open connection of three kinds ends, and the receipt counts them."""

from __future__ import annotations

import asyncio
from collections import Counter

from cli.city.sign_in import browser, sign_in
from cli.tour.connections import close_some, ended, open_all
from cli.tour.stage import Shown, Stage, require

OPEN = 200
CLOSED_BY_US = 17
_WITHIN = 20.0  # seconds until every client has seen its end
LIMIT = 0.3  # seconds: P3 while the machine is busy, as it is here with clients, apps and Elasticsearch on it


async def ends_everything(stage: Stage) -> Shown:
    """Takahashi has 200 connections open when the CISO revokes; some more were closed by the tour just before."""
    city = stage.city
    await stage.log_in("yamamoto")
    async with browser(city, city.device("ZEIMU-PC-01")) as visitor:
        person = city.person("takahashi")
        for app in ("zeimu", "groupware"):
            page = await sign_in(visitor, city, person, city.app(app).url)
            require(page.status == 200, f"{app} answered {page.status}")
        opened = await open_all(visitor, city, OPEN + CLOSED_BY_US)
        opened = await close_some(opened, CLOSED_BY_US)
        lost = Counter(each.kind for each in opened if each.ended_at)
        require(not lost, f"connections ended by themselves: {dict(lost)}")
        file = stage.folder / "receipt.json"
        revoke = asyncio.create_task(
            stage.command("yamamoto", "sessions", "revoke", "--user", "takahashi", "--reason", "訓練", "--yes",
                          "--receipt", str(file))
        )  # fmt: skip
        await revoke
        require(await ended(opened, _WITHIN), "connections are still open after the revocation was answered")
        again = await visitor.open(city.app("groupware").url)
        require(again.status != 200, "the revoked session still opens the app")
    receipt = await stage.ask("nobody", "receipts", "verify", str(file))
    stage.receipt = receipt
    closed = sum(receipt["closed"].values())
    kinds = dict(Counter(each.kind for each in opened))
    require(closed == OPEN, f"the receipt counts {closed} connections, {OPEN} were open")
    require(not receipt["fenced"], f"workers were fenced: {receipt['fenced']}")
    spans = sorted(each.ended_at - receipt["durable_at"] for each in opened)
    p99, longest = spans[int(len(spans) * 0.99) - 1], spans[-1]
    require(p99 <= LIMIT, f"p99 is {p99 * 1e3:.0f} ms, at most {LIMIT * 1e3:.0f} ms is allowed")
    acknowledged = receipt["last_ack_at"] - receipt["durable_at"]
    mixed = "・".join(f"{name} {count}" for name, count in kinds.items())
    return Shown(
        f"失効で開いている接続 {closed} 本({mixed})が終了。受領証の署名と数が一致",
        f"p99 {p99 * 1e3:.0f} ms、最長 {longest * 1e3:.0f} ms、全 worker の確認まで {acknowledged * 1e3:.0f} ms",
    )
