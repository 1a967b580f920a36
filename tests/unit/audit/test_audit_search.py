"""Search: folding, filters, time and following, over sealed and active segments."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from audit.event import Action, event, timestamp
from audit.journal import Journal
from audit.query import Query
from audit.scan import RawLine
from audit.search import Following, follow, search, show
from tests.support.trails import Trail, decision

T0 = 1_700_000_000.0


def completion(number: int, status: int) -> dict[str, Any]:
    fields = {"http.request.id": f"R{number:015d}", "http.response.status_code": status, "event.duration": 5}
    return event(Action.REQUEST_COMPLETED, T0 + number + 0.5, fields)


@pytest.fixture
def filled(trail: Trail) -> Trail:
    """40 requests over two writers; every third was refused, number 39 is still open."""
    for writer in (0, 1):
        records = []
        for number in range(writer, 40, 2):
            fields = {"sekisho.reason": "denied_by_rule" if number % 3 == 0 else "allowed",
                      "user.name": f"user{number % 4}", "user.group.name": ["税務課", f"g{number % 2}"]}  # fmt: skip
            records.append(decision(number, fields))
            if number != 39:
                records.append(completion(number, 403 if number % 3 == 0 else 200))
        trail.write(f"worker-{writer}", records)
    return trail


def numbers(found: Any) -> list[int]:
    return [int(each["http.request.id"][1:]) for each in found if "http.request.id" in each]


def find(trail: Trail, **query: Any) -> list[dict[str, Any]]:
    return list(search(trail.journals, Query(**query)))


def test_decision_and_completion_are_one_answer_newest_first(filled: Trail) -> None:
    found = find(filled, filters={"event.action": "request.decided"})
    assert numbers(found) == list(range(39, -1, -1))
    assert "event.end" not in found[0]
    assert found[1]["event.end"] == timestamp(T0 + 38.5)
    assert found[1]["@timestamp"] == timestamp(T0 + 38)
    assert found[1]["http.response.status_code"] == 200
    assert found[1]["event.id"].startswith("worker-0:1:")
    assert not {"v", "writer", "epoch", "seq", "prev"} & set(found[1])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"filters": {"sekisho.reason": "denied_by_rule"}}, [at for at in range(39, -1, -1) if at % 3 == 0]),
        ({"filters": {"http.response.status_code": "403"}}, [at for at in range(38, -1, -1) if at % 3 == 0]),
        ({"filters": {"user.name": "user2", "http.response.status_code": "403"}}, [30, 18, 6]),
        ({"filters": {"user.group.name": "g1"}, "limit": 3}, [39, 37, 35]),
        ({"filters": {"user.group.name": "税務課"}, "limit": 2, "newest_first": False}, [1, 0][::-1]),
        ({"since": T0 + 10, "until": T0 + 13}, [12, 11, 10]),
        ({"text": "DENIED_BY", "limit": 2}, [39, 36]),
        ({"text": "税務", "limit": 1}, [39]),
        ({"filters": {"user.name": "nobody"}}, []),
    ],
)
def test_queries(filled: Trail, query: dict[str, Any], expected: list[int]) -> None:
    assert numbers(find(filled, **query)) == expected


def test_show_finds_by_reference_number_and_by_record(filled: Trail) -> None:
    by_request = show(filled.journals, "R000-0000-0000-0012")
    assert numbers(by_request) == [12]
    assert by_request[0]["http.response.status_code"] == 403
    assert show(filled.journals, by_request[0]["event.id"])[0]["user.name"] == "user0"
    assert show(filled.journals, "worker-0:1:999") == show(filled.journals, "nothing") == []


def test_a_record_is_found_by_its_event_id_and_by_the_id_of_its_request(filled: Trail) -> None:
    everything = find(filled, limit=1000)
    for wanted in everything:
        name = wanted["event.id"]
        assert find(filled, filters={"event.id": name}) == [wanted]
        assert wanted in find(filled, text=name.upper())
        assert find(filled, filters={"event.id": name, "user.name": "nobody"}) == []
        if "http.request.id" in wanted:
            assert find(filled, filters={"event.id": wanted["http.request.id"]}) == [wanted]
    assert len(everything) == 42


@pytest.mark.parametrize("name", ["worker-0:1:999", "worker-9:1:1", "worker-0:1:02", "worker-0", "../x:1:1", ":1:1"])
def test_an_event_id_that_no_record_has_finds_nothing(filled: Trail, name: str) -> None:
    assert find(filled, filters={"event.id": name}) == []


def test_only_the_line_that_an_event_id_names_is_parsed(filled: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = RawLine.parse

    def counted(raw: RawLine) -> dict[str, object]:
        parsed.append(raw.id)
        return parse(raw)

    monkeypatch.setattr(RawLine, "parse", counted)
    (found,) = find(filled, filters={"event.id": "worker-0:1:2"})
    assert numbers([found]) == [0]
    assert parsed == ["worker-0:1:2", "worker-0:1:3"]  # the decision and its completion


def test_a_record_that_cannot_be_read_is_shown_as_such(filled: Trail) -> None:
    path = next((filled.journals / "worker-0").glob("*.jsonl"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"user.name":"user2"', b'"user.name":user2"', 1))
    found = [each for each in find(filled, limit=1000) if each.get("error.type") == "unreadable_record"]
    assert len(found) == 1


def test_following_shows_what_is_appended_and_completes_it(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, "worker-0", segment_bytes=1500, segment_age=3600, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        await journal.record(decision(1))
        following = Following(tmp_path, Query(filters={"user.name": "sato"}))
        assert following.poll() == []
        for number in range(2, 9):
            await journal.record(decision(number))
            await journal.record(completion(number, 200))
        found = following.poll()
        while more := following.poll():
            found += more
        assert numbers(found) == sorted([*range(2, 9), *range(2, 9)])
        assert found[1]["user.name"] == "sato"
        assert found[1]["http.response.status_code"] == 200
        stream = follow(tmp_path, Query(), idle=0.01)
        waiting = asyncio.ensure_future(anext(stream))
        number = 9
        while not waiting.done():
            await journal.record(decision(number))
            number += 1
        assert (await waiting)["event.action"] == "request.decided"
        await stream.aclose()  # type: ignore[attr-defined]
        journal.close(5)

    asyncio.run(run())
