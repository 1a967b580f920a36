"""An old Java app on a real Tomcat, from its first trial to its exceptions and back, through the running gateway.

The client takes no cookie of the app: its session is the one in its addresses.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yarl

from cli.client import AdminClient
from cli.failure import Failure
from tests.support.growing_files import contents
from tests.support.old_java_app import OldJavaApp, old_java_app
from tests.support.operator import ask, operator, tell
from tests.support.running_city import HOST, RunningCity, running_city
from tests.system.test_privacy_live import sekisho

pytestmark = pytest.mark.anyio

EXCEPTIONS = "path_parameter: jsessionid\npath_charset: shift_jis\n"
OFFICE = "/税務課/一覧.do"
OFFICE_UTF8 = "/%E7%A8%8E%E5%8B%99%E8%AA%B2"


def registration(app: OldJavaApp, more: str = "") -> str:
    """The app's `app.yaml`."""
    return (
        f"id: docs\ntitle: 文書管理\nowner: s0001\nhosts: [{HOST}]\nupstream: http://127.0.0.1:{app.port}\n"
        f"sensitivity: '2'\n{more}"
    )


async def get(city: RunningCity, target: str) -> tuple[int, str, str]:
    """Ask for a target as it is written: status, page, Location."""
    async with (
        city.client() as client,
        client.get(yarl.URL(city.base + target, encoded=True), allow_redirects=False) as answer,
    ):
        return answer.status, (await answer.read()).decode("cp932", "replace"), answer.headers.get("Location", "")


async def register(by: AdminClient, granted_by: AdminClient, text: str) -> dict[str, Any]:
    """Propose the registration and have it granted; return the proposal as the person who grants it sees it."""
    body = {"source": text, "file": "app.yaml", "reason": "試験", "ticket": "", "dry_run": False}
    proposed = (await tell(by, "/v1/apps/apply", **body))["approvals"][0]
    decide = {"decision": "grant", "reason": "試験", "ticket": "", "dry_run": False}
    with pytest.raises(Failure):
        await tell(by, f"/v1/approvals/{proposed['id']}/decide", **decide)
    shown = next(row for row in (await ask(granted_by, "/v1/approvals"))["items"] if row["id"] == proposed["id"])
    await tell(granted_by, f"/v1/approvals/{proposed['id']}/decide", **decide)
    return shown


async def tried(city: RunningCity, app: OldJavaApp, owner: AdminClient, folder: Path) -> None:
    """The trial names what to do: to the person, in both languages, also from a file that nobody has proposed yet."""
    faults = (await tell(owner, "/v1/apps/docs/test", user="", device=""))["strictness"]["faults"]
    assert [each["name"] for each in faults] == ["jsessionid", "both"]
    assert "path_parameter: jsessionid を登録に足す (承認が要ります)" in faults[0]["advice"]
    (folder / "app.yaml").write_text(registration(app), encoding="utf-8")
    for words, code, said in (
        (("apps", "test", "docs", "--exit-code"), 8, "最初に直すもの: URL に ;jsessionid があります → "),
        (("--lang", "en", "apps", "test", str(folder / "app.yaml")), 0, "to mend first: URLs carry ;jsessionid"),
    ):
        told = await asyncio.to_thread(sekisho, city, folder / "cli", owner._token or "", "", *words)
        assert (told.returncode, said in told.stderr) == (code, True), told.stderr
    unproposed = {"source": registration(app, EXCEPTIONS), "file": "app.yaml", "user": "", "device": ""}
    (mended,) = (await tell(owner, "/v1/apps/test", **unproposed))["tests"]
    assert mended["strictness"] == {"pages": 4, "faults": []}


async def used(city: RunningCity, app: OldJavaApp) -> str:
    """One session of the app over its links, its redirect and its Japanese paths, without a cookie of the app."""
    before = len(app.seen())
    page = (await get(city, "/"))[1]
    links = re.findall(r'href="([^"]+)"', page)
    secret: str = links[0].partition(";jsessionid=")[2]
    assert "/list.do は 2 回目" in (await get(city, links[0]))[1]
    status, _, moved = await get(city, links[1])
    assert (status, moved) == (302, f"http://{HOST}/list.do;jsessionid={secret}")
    assert "/list.do は 4 回目" in (await get(city, moved.removeprefix(f"http://{HOST}")))[1]
    assert f"{OFFICE} は 5 回目" in (await get(city, links[2]))[1]
    assert app.seen()[before + 1 :] == [
        (links[0], "/list.do", True), (links[1], "/move.do", True), (links[0], "/list.do", True),
        (links[2], OFFICE, True),
    ]  # fmt: skip
    assert (await get(city, OFFICE_UTF8))[0] == 400
    return secret


async def recorded(city: RunningCity, secret: str) -> None:
    """What was judged is on record, as text; the app's session is nowhere."""
    decided = [each for each in city.records() if each.get("event.action") == "request.decided"]
    allowed = sorted(each["url.path"] for each in decided if each["event.outcome"] == "success")
    assert allowed == ["/", "/", "/list.do", "/list.do", "/move.do", OFFICE]
    approved = [each for each in city.records("steward") if each.get("event.action") == "app.approved"]
    assert approved[-1]["sekisho.app.path_exceptions"] == ["jsessionid", "shift_jis"]
    assert not await asyncio.to_thread(found_anywhere, city.root, secret)


@pytest.mark.promise("P1.old-paths-by-name")
@pytest.mark.promise("P7.old-app-told-what-to-mend")
async def test_an_old_app_is_tried_excepted_used_and_brought_back(requires_java: Path, tmp_path: Path) -> None:
    (tmp_path / "tomcat").mkdir()
    async with old_java_app(requires_java, tmp_path / "tomcat") as app, running_city(tmp_path) as city:
        await city.furnish(upstream=f"http://127.0.0.1:{app.port}")
        owner, ciso = await operator(city, "ciso", number=90), await operator(city, "ciso", number=91)
        links = re.findall(r'href="([^"]+)"', (await get(city, "/"))[1])
        assert [(await get(city, link))[0] for link in links] == [400, 400, 400]
        await tried(city, app, owner, tmp_path)

        # Approved by another person, who reads what it permits.
        shown = await register(owner, ciso, registration(app, EXCEPTIONS))
        assert {"field": "path_parameter", "before": "", "after": "jsessionid"} in shown["detail"]["changes"]
        registered = await ask(ciso, "/v1/apps/docs")
        assert (registered["path_parameter"], registered["path_charset"]) == ("jsessionid", "shift_jis")
        for warnings in (shown["detail"]["warnings"], registered["warnings"]):
            assert sum("例外 path_" in text for text in warnings) == 2
        await recorded(city, await used(city, app))

        # Taken back the same way, its links lead nowhere again.
        shown = await register(owner, ciso, registration(app))
        assert {"field": "path_parameter", "before": "jsessionid", "after": ""} in shown["detail"]["changes"]
        assert [(await get(city, link))[0] for link in links] == [400, 400, 400]
        assert (await get(city, OFFICE_UTF8))[0] == 200


def found_anywhere(folder: Path, secret: str) -> list[Path]:
    """The files of an installation that hold the secret, its logs included."""
    return [path for path, data in contents(folder) if secret.encode() in data]
