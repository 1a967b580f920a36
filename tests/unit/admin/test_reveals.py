"""`audit reveal`: two people, each types the value; nothing that tells the value is kept, and nothing else finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.event import BASE, Action, timestamp
from gateway.admin.unlinking import unlinked
from gateway.gate.masking import add_path, query_digest, query_digests, record_key
from tests.support.admin_desk import AdminDesk
from tests.support.gate_world import APP
from tests.unit.admin.test_admin_matrix import NOW, session, user

VALUE = "00123-45"
DOCS = replace(APP, masked_paths=("/people/*",), masked_queries=("number",))
RECORDS = [
    DOCS, replace(APP, id="mail", hosts=("mail.city.example",)), user("u-ciso", "ciso"), user("u-audit", "audit"),
    user("u-third", "audit"), user("u-operator", "operator"), session("ciso", "u-ciso"), session("audit", "u-audit"),
    session("third", "u-third"), session("operator", "u-operator"),
]  # fmt: skip
ASK: dict[str, Any] = {"app": "docs", "field": "path", "value": VALUE, "reason": "開示請求 12号"}


def run(folder: Path, steps: Callable[[AdminDesk], Awaitable[None]]) -> AdminDesk:
    desk = AdminDesk(folder, RECORDS)

    async def go() -> None:
        async with desk.open():
            await steps(desk)

    asyncio.run(go())
    return desk


def access(
    desk: AdminDesk, number: int, path: str, query: bytes = b"", app: str = "docs", key: bytes = b""
) -> dict[str, Any]:
    """A decision as a worker records it."""
    key = key or record_key(desk.key.read_bytes())
    record: dict[str, Any] = {
        "@timestamp": timestamp(NOW + number), **BASE[Action.REQUEST_DECIDED], "http.request.id": f"{number:016}",
        "sekisho.app.id": app, "event.outcome": "success", "sekisho.verdict": "forward", "user.name": "tanaka",
    }  # fmt: skip
    add_path(record, path, DOCS.masked_paths, key)
    if query:
        record["url.query"] = query_digest(key, query)
        if digests := query_digests(key, query, DOCS.masked_queries):
            record["sekisho.query_digests"] = digests
    return record


async def fill(desk: AdminDesk) -> None:
    for record in (
        access(desk, 1, f"/people/{VALUE}"), access(desk, 2, "/people/00999"), access(desk, 3, f"/people/{VALUE}/edit"),
        access(desk, 4, f"/people/{VALUE}", app="mail"), access(desk, 5, "/find", b"number=" + VALUE.encode()),
        access(desk, 6, "/find", b"other=" + VALUE.encode()),
    ):  # fmt: skip
        await desk.journal.record(record)


async def asked(desk: AdminDesk, token: str = "audit", **changes: Any) -> str:
    status, answer = await desk.post(token, "/v1/reveals", **{**ASK, **changes})
    assert status == 202, answer
    return str(answer["approvals"][0]["id"])


async def granted(desk: AdminDesk, name: str, token: str = "ciso", value: str = VALUE) -> tuple[int, str]:
    status, answer = await desk.post(token, f"/v1/reveals/{name}/grant", value=value, reason="確認した")
    return status, answer.get("reason", answer.get("decision", ""))


async def answered(desk: AdminDesk, name: str, token: str = "audit", value: str = VALUE) -> tuple[int, Any]:
    status, answer = await desk.post(token, f"/v1/reveals/{name}/answer", value=value)
    found = [int(each["http.request.id"]) for each in answer["items"]] if status == 200 else answer["reason"]
    return status, found


@pytest.mark.promise("P5.reveal-needs-two")
@pytest.mark.parametrize(("field", "expected"), [("path", [3, 1]), ("query:number", [5])])
def test_two_people_find_the_records_of_a_value(tmp_path: Path, field: str, expected: list[int]) -> None:
    async def steps(desk: AdminDesk) -> None:
        await fill(desk)
        name = await asked(desk, field=field)
        assert await answered(desk, name) == (409, "conflict")  # not granted
        assert await granted(desk, name, token="audit") == (403, "own_request")
        assert await granted(desk, name, value="00124") == (409, "conflict")
        assert (await desk.post("ciso", f"/v1/approvals/{name}/decide", decision="grant", reason="x"))[0] == 409
        assert (await desk.post("operator", f"/v1/reveals/{name}/grant", value=VALUE, reason="x"))[0] == 403
        assert await answered(desk, name) == (409, "conflict")
        assert await granted(desk, name) == (200, "grant")
        assert await granted(desk, name, token="third") == (409, "conflict")
        assert await answered(desk, name, token="ciso") == (403, "not_permitted")
        assert await answered(desk, name, value="00124") == (409, "conflict")
        assert await answered(desk, name) == (200, expected)

    desk = run(tmp_path, steps)
    done = [each["sekisho.count"] for each in desk.told("reveals.answer") if each.get("event.outcome") == "success"]
    assert done == [len(expected)]
    assert desk.told("reveals.ask")[0]["sekisho.justification"] == "開示請求 12号"
    assert desk.told("reveals.ask")[0]["sekisho.admin.arguments"] == {
        "app": "docs", "field": field, "value": "***", "since": None, "until": None, "dry_run": False,
    }  # fmt: skip
    assert [each["sekisho.by"] for each in desk.steward.records if each["event.action"] == "approval.decided"] == [
        "u-ciso"
    ]


@pytest.mark.promise("P5.reveal-needs-two")
def test_the_value_and_its_digest_are_kept_nowhere_and_told_to_nobody_alone(tmp_path: Path) -> None:
    made: list[str] = []

    async def steps(desk: AdminDesk) -> None:
        await fill(desk)
        key = record_key(desk.key.read_bytes())
        made.append(access(desk, 9, f"/people/{VALUE}", key=key)["sekisho.path_digests"][0])
        name = await asked(desk)
        await granted(desk, name)
        told = [str((await desk.get(token, "/v1/approvals?all=true"))[1]) for token in ("ciso", "audit", "operator")]
        told += [str(await desk.rows("audit", "/v1/events/search", filters={"sekisho.app.id": "docs"}))]
        told += [str(await desk.get("audit", "/v1/events/control:1:2"))]
        told += [str(await desk.get("audit", "/v1/events/0000000000000001"))]
        assert all(made[0] not in each and VALUE not in each for each in told)
        assert "/people/~" in told[3]
        assert "/people/~" in told[4]

    desk = run(tmp_path, steps)
    for file in [*desk.folder.rglob("*.jsonl"), *desk.folder.rglob("*.active"), *(desk.folder / "state").iterdir()]:
        assert VALUE.encode() not in file.read_bytes(), file
    for file in (desk.folder / "state").iterdir():
        assert made[0].encode() not in file.read_bytes(), file


def test_a_question_is_over_after_a_day(tmp_path: Path) -> None:
    async def steps(desk: AdminDesk) -> None:
        first, second = await asked(desk), await asked(desk, field="query:number")
        await granted(desk, first)
        for one in ("audit", "ciso"):  # a session lasts as long as the test's clock needs
            desk.steward.records.clear()
            with desk.store.transaction("test", desk.clock()) as tx:
                tx.put(session(one, f"u-{one}", expires_at=NOW + 10 * 86_400))
        desk.late = 86_399.0 - 60
        assert (await answered(desk, first))[0] == 200
        desk.late = 86_401.0
        assert await answered(desk, first) == (409, "conflict")
        assert await granted(desk, second) == (409, "conflict")

    run(tmp_path, steps)


IMPOSSIBLE: list[tuple[dict[str, Any], int]] = [
    ({"app": "none"}, 404), ({"field": "query:other"}, 409), ({"app": "mail", "field": "query:number"}, 409),
    ({"field": "header:x"}, 400), ({"field": "query:"}, 400), ({"value": ""}, 400), ({"reason": " "}, 400),
    ({"value": "123456789018"}, 400), ({"value": "4111-1111-1111-1111"}, 400), ({"value": "x" * 501}, 400),
    ({"dry_run": True}, 200),
]  # fmt: skip


def test_what_cannot_be_found_is_not_asked_for(tmp_path: Path) -> None:
    async def steps(desk: AdminDesk) -> None:
        for changes, status in IMPOSSIBLE:
            assert (await desk.post("audit", "/v1/reveals", **{**ASK, **changes}))[0] == status, changes
        assert (await desk.get("audit", "/v1/approvals"))[1]["items"] == []
        assert (await desk.post("audit", "/v1/reveals/none/answer", value="x"))[0] == 404

    run(tmp_path, steps)


def test_records_of_an_earlier_key_and_shape_are_found_too(tmp_path: Path) -> None:
    async def steps(desk: AdminDesk) -> None:
        unlisted = access(desk, 1, f"/people/{VALUE}")
        del unlisted["sekisho.path_digests"]  # as records were before their digests were listed
        await desk.journal.record(unlisted)
        old = desk.key.read_text()
        desk.key.write_text("11" * 32 + "\n" + old)
        await desk.journal.record(access(desk, 2, f"/people/{VALUE}"))
        name = await asked(desk)
        await granted(desk, name)
        assert await answered(desk, name) == (200, [2, 1])

    run(tmp_path, steps)


def test_an_answer_without_digests_says_how_many_there_were() -> None:
    digest = "ab" * 12
    record = {
        "url.path": f"/people/~{digest}/x", "url.query": f"~{digest}", "sekisho.path_digests": [digest],
        "sekisho.query_digests": {"a": [digest, digest]}, "sekisho.unmet": [{"actual": f"/~{digest}"}], "n": 1,
    }  # fmt: skip
    assert unlinked(record) == {
        "url.path": "/people/~/x", "url.query": "~", "sekisho.path_digests": ["~"],
        "sekisho.query_digests": {"a": ["~", "~"]}, "sekisho.unmet": [{"actual": "/~"}], "n": 1,
    }  # fmt: skip
    document = {"sekisho": {"path_digests": [digest], "query_digests": {"a": [digest]}}, "url": {"path": f"/~{digest}"}}
    assert unlinked(document) == {
        "sekisho": {"path_digests": ["~"], "query_digests": {"a": ["~"]}},
        "url": {"path": "/~"},
    }
