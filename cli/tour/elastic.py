"""Steps about Elasticsearch: prepared once, stopped and killed under traffic, and compared with the journals."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from cli.city.browser import Browser
from cli.city.sign_in import browser, sign_in
from cli.exit_codes import ExitCode
from cli.tour.copies import called_for, differences
from cli.tour.elasticsearch import Node
from cli.tour.load import Load, working
from cli.tour.registration import url
from cli.tour.stage import CannotShow, NotShown, Shown, Stage, require
from cli.tour.stored import Server, Stored
from cli.tour.trail import journalled

INTEGRITY = int(ExitCode.INTEGRITY)
_CLIENTS = 2
_AWAY = 2.0  # seconds of traffic while the server is gone
_CAUGHT_UP_WITHIN = 60.0
_TOLD_AFTER = 1.5  # seconds: the shipper's own word is written each second
_SHOWN_OPEN = 33.0  # seconds after which a request that is still open has its document (30, and a look)


def _node(stage: Stage) -> Node:
    if stage.node is None:
        raise CannotShow(stage.no_node)
    return stage.node


async def prepared(stage: Stage) -> Shown:
    """Yamamoto has templates put and two keys made; what the keys may, and may not, is asked of the server."""
    node = _node(stage)
    begun = time.monotonic()
    await asyncio.to_thread(node.await_ready)
    waited = time.monotonic() - begun
    await stage.log_in("yamamoto")
    secret = stage.folder / "elasticsearch.password"
    secret.write_text(node.password + "\n", encoding="utf-8")
    administrator = ("--admin-user", "admin", "--admin-password-file", str(secret))
    await stage.command("yamamoto", "es", "bootstrap", *administrator, "--reason", "導入", "--yes")
    items = await stage.ask("yamamoto", "es", "check", *administrator)
    bad = [item["what"] for item in items if not item["good"]]
    require(items and not bad, f"not as it should be: {', '.join(bad)}")
    told = await _until(stage, lambda status: bool(status.get("created")), "nothing was sent")
    return Shown(
        "Elasticsearch にひな形と、追加だけ・読むだけの2つの鍵を用意し、記録が届き始めた",
        f"確認 {len(items)} 項目、{told['created']} 件、待ち {waited:.1f} s",
    )


async def agrees(stage: Stage) -> Shown:
    """The server is stopped and killed while tanaka works; afterwards it has every document, each once."""
    node = _node(stage)
    city, person = stage.city, stage.city.person("tanaka")
    await stage.log_in("yamamoto")
    async with browser(city, city.device("ZEIMU-PC-02")) as visitor:
        for address in (city.app("groupware").url, url(stage)):
            page = await sign_in(visitor, city, person, address)
            require(page.status == 200, f"{address} answered {page.status}")
        origin = city.app("groupware").url.rstrip("/")
        async with visitor.http.ws_connect(f"{origin}/chat", headers={"Origin": origin}):  # open all the while
            opened = time.time()
            await _caught_up(stage, opened)
            load = await _interrupted(stage, node, visitor)
            await asyncio.sleep(opened + _SHOWN_OPEN - time.time())
            whole = await _compare(stage, node, opened)
    require(load.failed == 0, f"{load.failed} requests failed while Elasticsearch was away")
    require(any(name.endswith(".open") for name in whole.places), "the open connection is not shown as open")
    return Shown(
        "停止・SIGKILL・再起動と索引の切替をまたいで、Elasticsearch も内蔵の検索も記録と双方向に一致(欠け 0・重複 0)",
        f"{_counted(whole)}、その間の {len(load.answered)} 要求に失敗 0",
    )


async def agrees_again(stage: Stage) -> Shown:
    """After every process was killed, the one that sends too, the copy is still right."""
    whole = await _compare(stage, _node(stage), 0.0)
    return Shown("送り手を含む全プロセスの SIGKILL のあとも、Elasticsearch に欠け 0・重複 0", _counted(whole))


async def tampered(stage: Stage) -> Shown:
    """Its administrator deletes, edits and forges documents: each is named, what is missing is sent again."""
    node = _node(stage)
    await stage.log_in("yamamoto")
    await _caught_up(stage, time.time())
    async with Server(node) as server:
        gone, edited = await server.two_of("access")
        await server.delete(gone)
        await server.edit(edited, {"user.name": "yamada"})
        await server.forge("access", edited, "forged")
    found = await _reconciled(stage, INTEGRITY)
    named = {each["kind"]: each["names"] for each in found["findings"]}
    wanted = {"missing": [gone.id], "changed": [edited.id], "foreign": ["forged"]}
    require(named == wanted, f"named {named}, expected {wanted}")
    await _reconciled(stage, INTEGRITY, "--repair", "--reason", "欠けの送り直し")
    after = await _reconciled(stage, INTEGRITY)
    left = sorted(each["kind"] for each in after["findings"])
    require(left == ["changed", "foreign"], f"after --repair there is still {left}")
    kinds = await _cases(stage)
    return Shown(
        "管理者が消した文書・書き換えた文書・偽の文書をすべて名指しし、消えたものだけを送り直し、事案になった",
        f"{found['total']['journal']} 件中 3 件、事案の異常 {len(kinds)} 種",
    )


async def _reconciled(stage: Stage, expect: int, *more: str) -> dict[str, Any]:
    """The product's own comparison of the last hours with the copy."""
    arguments = ("es", "reconcile", "--since", "3h", *more, "-o", "json")
    found: dict[str, Any] = json.loads(await stage.command("yamamoto", *arguments, expect=expect))
    return found


async def _cases(stage: Stage) -> set[str]:
    """Wait for the cases that the comparison led to; return the kinds of their findings."""
    wanted = {"copy_lacks", "copy_changed", "copy_foreign"}
    end = time.monotonic() + _CAUGHT_UP_WITHIN
    while True:
        cases = await stage.ask("yamamoto", "anomalies", "ls")
        kinds = {kind for case in cases for kind in case["kinds"]} & wanted
        if kinds == wanted:
            return kinds
        require(time.monotonic() < end, f"cases tell of {sorted(kinds)} only")
        await asyncio.sleep(0.5)


def _counted(whole: Stored) -> str:
    return f"{len(whole.places)} 件とチェックポイント {len(whole.checkpoints)} 件、索引 {len(whole.indices)}"


async def _interrupted(stage: Stage, node: Node, visitor: Browser) -> Load:
    """Stop, start, kill and start the server under traffic; the last start meets a new backing index."""
    async with working(visitor, url(stage), _CLIENTS) as load:
        for end in (node.stop, node.kill):
            faults, served = _status(stage)["faults"], len(load.answered)
            await asyncio.to_thread(end)
            await asyncio.sleep(_AWAY)
            require(len(load.answered) > served, "nothing was served while Elasticsearch was away")
            away = _status(stage)
            node.start()
            await asyncio.to_thread(node.await_ready)
            if end == node.kill:
                async with Server(node) as server:
                    await server.roll_over("access")
            await _goes_on(stage, away, faults)
    return load


async def _goes_on(stage: Stage, away: dict[str, Any], faults: int) -> None:
    """Wait until documents arrive again at a server whose absence the shipper noticed."""

    def holds(now: dict[str, Any]) -> bool:
        arrived = now["created"] + now["already"] - away["created"] - away["already"]
        return bool(now["faults"] > faults and arrived > 0)

    await _until(stage, holds, "nothing was sent after the server's return")


async def _compare(stage: Stage, node: Node, opened_before: float) -> Stored:
    """Compare the journals with the server and with a search, both ways.

    What is recorded meanwhile must not look like a fault: a copy must hold what the journals held before it was asked,
    and may hold what they hold afterwards.
    """
    due = called_for(journalled(stage.root, "*")).due(opened_before)
    told = await _caught_up(stage, time.time())
    require(not told["dead_letters_total"], f"{told['dead_letters_total']} documents were not taken")
    async with Server(node) as server:
        whole = await server.stored()
    searched = await _searched(stage)
    allowed = called_for(journalled(stage.root, "*")).allowed
    faults = differences(due, whole.places, allowed)
    require(not faults, f"Elasticsearch: {'; '.join(faults)}")
    require(len(set(whole.checkpoints)) == len(whole.checkpoints) > 0, "checkpoints are missing, or there twice")
    own = await _reconciled(stage, 0)
    require(own["equal"] and own["total"]["journal"] > 0, f"es reconcile: {own['findings']}")
    by_place = {place: place for place in allowed.values()}
    faults = differences({place: place for place in due.values()}, searched, by_place)
    require(not faults, f"events search: {'; '.join(faults)}")
    return whole


async def _searched(stage: Stage) -> dict[str, list[str]]:
    """Every answer of `events search` over the embedded index, by the place of its record."""
    index = stage.root / "state" / "auditor" / "index"
    require(any(index.glob("*.parquet")), f"there is no embedded index in {index}")
    text = await stage.command("yamamoto", "events", "search", "--since", "1h", "--limit", "100000", "-o", "ndjson")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        place = json.loads(line)["event.id"]
        found.setdefault(place, []).append(place)
    return found


async def _caught_up(stage: Stage, moment: float) -> dict[str, Any]:
    """Wait until the shipper says, of a time after `moment`, that nothing is behind."""

    def holds(status: dict[str, Any]) -> bool:
        late = status["at"] < moment + _TOLD_AFTER
        return not late and status.get("lag_records") == 0 and not status["checkpoints_waiting"]

    return await _until(stage, holds, "the shipper did not catch up")


def _status(stage: Stage) -> dict[str, Any]:
    """What the shipper says of itself (`sekisho es status` shows the same, and each asking is one more record)."""
    path = stage.root / "state" / "auditor" / "elastic" / "status.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


async def _until(stage: Stage, holds: Callable[[dict[str, Any]], bool], otherwise: str) -> dict[str, Any]:
    end = time.monotonic() + _CAUGHT_UP_WITHIN
    while not holds(status := _status(stage)):
        if time.monotonic() > end:
            raise NotShown(f"{otherwise} within {_CAUGHT_UP_WITHIN:.0f} s: {status}")
        await asyncio.sleep(0.2)
    return status
