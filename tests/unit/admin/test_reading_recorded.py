"""Reading the trail is itself on the trail: every way to it, before it answers, and how much it answered."""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.event import Action, event
from gateway.admin import endpoints as table
from gateway.admin import server
from gateway.admin.asked import asked
from gateway.admin.endpoint import Endpoint, Reply, Stream
from tests.support.admin_desk import AdminDesk
from tests.support.gate_world import APP
from tests.unit.admin.test_admin_matrix import NOW, PATHS, minimal, session, user

DOCS = replace(APP, masked_paths=("/people/*",))
RECORDS = [user("u-ciso", "ciso"), session("ciso", "u-ciso"), DOCS]
READS_THE_TRAIL = {
    "events.search", "events.count", "events.bundle", "events.tail", "events.show", "anomalies.ls",
    "anomalies.show", "reveals.answer",
    "es.dead_letters.ls", "es.dead_letters.show", "policy.explain",
}  # fmt: skip


def run(folder: Path, steps: Callable[[AdminDesk], Awaitable[None]]) -> AdminDesk:
    desk = AdminDesk(folder, RECORDS)

    async def go() -> None:
        async with desk.open():
            await steps(desk)

    asyncio.run(go())
    return desk


def test_every_address_of_the_admin_api_is_of_the_table(tmp_path: Path) -> None:
    """A new way in that is not in the table, and so not behind the guard, fails here."""

    async def steps(desk: AdminDesk) -> None:
        app = server.build_admin_app(desk.context)
        served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
        wanted = {(each.method, each.path) for each in table.endpoints()}
        assert {pair for pair in served if pair[0] != "HEAD"} == wanted
        assert {route.handler.__qualname__ for route in app.router.routes()} == {"_served.<locals>.serve"}

    run(tmp_path, steps)


def modules_that_read() -> set[str]:
    """Modules of the admin API that import what reads journals, indexes or dead letters."""
    readers = {"audit.search", "audit.cases", "audit.dead_letters", "audit.reader", "gateway.admin.searching"}
    found = set()
    for file in Path(inspect.getfile(table)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            child = isinstance(node, ast.Constant) and str(node.value).startswith(("audit.bundle.", "audit.index."))
            if readers & set(names) or child:
                found.add(file.stem)
    return found - {"searching", "search_child"}


def test_the_list_of_what_reads_the_trail_is_whole() -> None:
    """Whoever lets another command read the trail lists it here, and gets it tested below."""
    modules = modules_that_read()
    reading = {each.command for each in table.endpoints() if each.handler.__module__.split(".")[-1] in modules}
    changing = {each.command for each in table.endpoints() if each.changes}
    others = {"es.status", "es.check", "policy.test", "policy.show"}  # of the same modules, but of no record
    assert reading - changing - others == READS_THE_TRAIL


@pytest.mark.promise("P5.reading-is-recorded")
def test_every_command_is_on_the_journal_before_it_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was asked, by whom; after it, how many rows it gave out."""
    seen: dict[str, bool] = {}
    made = tuple(table.endpoints())

    def watched(endpoint: Endpoint[Any]) -> Endpoint[Any]:
        async def handler(call: Any) -> Reply | Stream:
            told = desk.told(endpoint.command)
            seen[endpoint.command] = [each["event.action"] for each in told] == ["admin.requested"]
            return Reply({}, rows=len(endpoint.command))

        return replace(endpoint, handler=handler)

    monkeypatch.setattr(server, "endpoints", lambda: tuple(watched(each) for each in made))
    desk = AdminDesk(tmp_path, RECORDS)

    async def go() -> None:
        async with desk.open():
            for each in made:
                body = minimal(each) if each.method == "POST" else None
                headers = {"Authorization": "Bearer ciso"}
                path = each.path.format(**PATHS)
                async with desk.client.request(each.method, path, json=body, headers=headers) as answer:
                    seen.setdefault(each.command, each.command.startswith("sign_in"))
                    assert answer.status in (200, 400, 403), each.command

    asyncio.run(go())
    assert [command for command, good in seen.items() if not good] == []
    assert set(seen) == {each.command for each in made}
    for each in made:
        records = desk.told(each.command)
        assert [record["event.action"] for record in records] == ["admin.requested", "admin.done"], each.command
        if each.roles and records[1]["event.outcome"] == "success":
            assert records[1]["sekisho.count"] == len(each.command)
            assert records[0]["user.name"] == records[1]["user.name"] == "u-ciso"
            assert set(records[0]["sekisho.admin.arguments"]) == set(each.arguments.model_fields) - {"reason", "ticket"}


@pytest.mark.promise("P5.reading-is-recorded")
def test_a_search_says_what_for_when_and_how_many(tmp_path: Path) -> None:
    async def steps(desk: AdminDesk) -> None:
        for number in range(3):
            fields = {"user.name": "tanaka", "http.request.id": f"{number:016}"}
            await desk.journal.record(event(Action.AUTH_PASSWORD, NOW + number, fields))
        body = {"filters": {"user.name": "tanaka"}, "since": NOW - 5, "until": NOW + 2, "actions": ["auth.password"]}
        assert len(await desk.rows("ciso", "/v1/events/search", **body)) == 2
        assert (await desk.get("ciso", "/v1/events/0000000000000002"))[0] == 200

    desk = run(tmp_path, steps)
    asked_for, done = desk.told("events.search")
    arguments = asked_for["sekisho.admin.arguments"]
    assert (arguments["filters"], arguments["since"], arguments["until"]) == ({"user.name": "tanaka"}, NOW - 5, NOW + 2)
    assert (done["sekisho.count"], done["event.outcome"]) == (2, "success")
    assert desk.told("events.show")[0]["sekisho.admin.arguments"] == {"reference": "0000000000000002"}
    assert desk.told("events.show")[1]["sekisho.count"] == 1


@pytest.mark.promise("P5.reading-is-recorded")
def test_following_is_recorded_at_its_start_and_at_its_end_with_the_rows_given(tmp_path: Path) -> None:
    async def steps(desk: AdminDesk) -> None:
        headers = {"Authorization": "Bearer ciso"}
        body = {"filters": {"user.name": "tanaka"}}
        async with desk.client.post("/v1/events/tail", json=body, headers=headers) as answer:
            assert [each["event.action"] for each in desk.told("events.tail")] == ["admin.requested"]
            lines: list[bytes] = []
            async with asyncio.timeout(60):
                while len(lines) < 3:
                    await desk.journal.record(event(Action.AUTH_PASSWORD, NOW, {"user.name": "tanaka"}))
                    with_line = asyncio.wait_for(answer.content.readline(), 0.5)
                    try:
                        lines.append(await with_line)
                    except TimeoutError:
                        continue  # it stands at the journals' end only once its process has started
        async with asyncio.timeout(30):
            while len(desk.told("events.tail")) < 2:  # noqa: ASYNC110 (a journal has no event for readers)
                await asyncio.sleep(0.05)

    desk = run(tmp_path, steps)
    start, end = desk.told("events.tail")
    assert start["sekisho.admin.arguments"]["filters"] == {"user.name": "tanaka"}
    assert end["sekisho.admin.result"] in ("reader_left", "aborted")  # by who noticed first
    assert end["sekisho.count"] >= 3


@pytest.mark.parametrize(
    ("arguments", "recorded"),
    [
        ({"text": "/people/00123/edit"}, {"text": "/people/~/edit"}), ({"text": "00123"}, {"text": "~"}),
        ({"text": "００１-２３"}, {"text": "~"}), ({"text": "tanaka"}, {"text": "tanaka"}),
        ({"text": "404"}, {"text": "404"}),
        ({"filters": {"url.path": "/people/1"}}, {"filters": {"url.path": "/people/~"}}),
        ({"filters": {"url.path": "/open/1?number=5"}}, {"filters": {"url.path": "/open/1?~"}}),
        ({"path": "/people/1", "list": ["/people/2"]}, {"path": "/people/~", "list": ["/people/~"]}),
        ({"text": "https://docs.example/people/1"}, {"text": "https://docs.example/people/~"}),
        ({"text": "docs.example/people/1 https://docs.example"}, {"text": "docs.example/people/~ https://docs.example"}),
        ({"login": "00123"}, {"login": "00123"}), ({"limit": 100, "x": None}, {"limit": 100, "x": None}),
        ({"filters": {"url.query": "~" + "ab" * 12}}, {"filters": {"url.query": "~"}}),
    ],
)  # fmt: skip
def test_what_was_asked_is_recorded_under_the_masks_of_what_is_asked_about(
    arguments: dict[str, Any], recorded: dict[str, Any]
) -> None:
    assert asked(arguments, [DOCS, replace(APP, masked_paths=())]) == recorded


@pytest.mark.promise("P5.reading-is-recorded")
def test_a_search_by_a_masked_value_leaves_it_in_no_record(tmp_path: Path) -> None:
    async def steps(desk: AdminDesk) -> None:
        for text in ("/people/77001/x", "77001", "123456789018", "1234-5678-9018"):
            await desk.rows("ciso", "/v1/events/search", text=text, filters={"url.path": "/people/77001"})

    desk = run(tmp_path, steps)
    kept = b"".join(file.read_bytes() for file in (tmp_path / "journal").rglob("*") if file.is_file())
    assert kept.count(b"admin.requested") == 4
    for value in (b"77001", b"123456789018", b"5678-9018"):
        assert value not in kept
    assert desk.told()
