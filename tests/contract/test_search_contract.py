"""One contract, two ways: a search of the journals and one of the index with its tail give the same answers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.checkpoint import generate
from audit.completion import named
from audit.event import Action, event, short
from audit.index import reading
from audit.index.query import answers
from audit.index.writer import IndexWriter
from audit.query import Query, counted
from audit.search import search
from tests.support.trails import Trail

T0 = 1_700_000_000.0
ROOT = Path(__file__).parents[2]
PEOPLE = ("sato", "suzuki", "高橋")


def passage(number: int, *, complete: bool) -> list[dict[str, Any]]:
    fields = {
        "http.request.id": f"R{number:015d}", "user.name": PEOPLE[number % 3], "sekisho.reason": "allowed",
        "sekisho.verdict": "forward", "url.path": f'/書類/"{number}"', "user.group.name": ["tax", "staff"],
        "event.outcome": "success", "event.type": ["access", "allowed"], "sekisho.app.id": "docs",
        "sekisho.app.business": "ﾃﾞﾝｼ書類Ａ" if number % 7 == 0 else "電子 書類",
    }  # fmt: skip
    at = T0 + number
    written = dict if number % 3 else short  # lines of both shapes stand in a journal
    decided = written(event(Action.REQUEST_DECIDED, at, fields))
    if not complete:
        return [decided]
    ended = {"http.request.id": fields["http.request.id"], "http.response.status_code": 200 + number % 2}
    return [decided, written(event(Action.REQUEST_COMPLETED, at + 0.5, ended))]


def other(number: int) -> list[dict[str, Any]]:
    refused = {
        "http.request.id": f"X{number:015d}", "sekisho.verdict": "refuse", "sekisho.reason": "denied_by_rule",
        "user.name": "sato", "event.outcome": "failure",
    }  # fmt: skip
    return [
        event(Action.REQUEST_DECIDED, T0 + number, refused),
        event(Action.SESSION_ENDED, T0 + number + 0.25, {"sekisho.session.id": f"s{number}", "user.name": "suzuki"}),
    ]


def lasting(number: int, until: float) -> list[dict[str, Any]]:
    """A request that was open for long; where its lines are whole, its completion says who and what, too."""
    (decided,) = passage(number, complete=False)
    ended = {"http.request.id": decided["http.request.id"], "http.response.status_code": 101}
    who = named(decided) if number % 3 else {}
    return [decided, (dict if number % 3 else short)(event(Action.REQUEST_COMPLETED, until, who | ended))]


LASTING = [lasting(number, until) for number, until in ((-5000, T0 + 34.6), (-4998, T0 + 34.7), (-4997, T0 + 400))]
"""Decided long before everything else, in both shapes; the last one ends where the index has not come to."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Journals whose first half is in the index, in several files, some joined; requests open over the border."""
    folder = tmp_path_factory.mktemp("contract")
    trail = Trail(folder / "journal", folder / "log", generate("contract"))
    index = folder / "index"

    def part(first: int, last: int) -> None:
        for number in range(first, last, 10):
            trail.write("worker-0", [r for n in range(number, number + 5) for r in passage(n, complete=n % 4 > 0)])
            trail.write("worker-1", [r for n in range(number + 5, number + 10) for r in other(n)])
        writer = IndexWriter(folder / "journal", index)
        while writer.poll(T0):
            writer.flush()

    old = [record for number in range(-3000, -2990) for record in passage(number, complete=True)]
    trail.write("worker-0", [*(decided for decided, _ in LASTING), *old])
    # The first records of a journal whose older ones were deleted: how requests ended that nobody can look up.
    gone = [lasting(number, T0 + 35)[1] for number in (-600, -601)]
    trail.write("worker-2", [*gone, *passage(55, complete=True)])
    for start in range(0, 40, 20):
        part(start, start + 20)
    trail.write("worker-0", [ended for _, ended in LASTING[:2]])
    together = [passage(number, complete=True) for number in range(35, 40)]
    trail.write("worker-0", [decided for decided, _ in together])  # whole segments without any completion
    trail.write("worker-0", [ended for _, ended in together])
    for start in range(40, 80, 20):
        part(start, start + 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audit.index.writer.JOINED", 3)
        assert IndexWriter(folder / "journal", index).compact()
    part(80, 110)
    # Completions of what was open before, and new requests, in the tail only.
    late = [passage(n, complete=True)[1] for n in (0, 100)]
    trail.write("worker-0", [LASTING[2][1], *late, *passage(231, complete=True), *passage(232, complete=False)])
    return folder / "journal", index


QUESTIONS = [
    Query(limit=1000),
    Query(limit=7),
    Query(limit=1000, newest_first=False),
    Query(limit=9, newest_first=False),
    Query(filters={"user.name": "sato"}, limit=50),
    Query(filters={"user.name": "高橋", "sekisho.app.id": "docs"}, limit=1000),
    Query(filters={"http.response.status_code": "201"}, limit=1000),
    Query(filters={"user.group.name": "tax"}, limit=20),
    Query(filters={"user.group.name": "nobody"}),
    Query(filters={"http.request.id": f"R{100:015d}"}),
    Query(filters={"http.request.id": f"R{232:015d}"}),
    Query(filters={"sekisho.reason": "denied_by_rule"}, since=T0 + 30, until=T0 + 90, limit=1000),
    Query(since=T0 + 60.5, limit=1000),
    Query(since=T0 + 32, limit=1000),
    Query(since=T0 + 32, filters={"user.name": "suzuki"}, limit=1000),
    Query(since=T0 + 32, filters={"http.response.status_code": "101"}, limit=1000),
    Query(since=T0 + 32, actions=frozenset({"request.completed"}), limit=1000),
    Query(since=T0 + 34.5, until=T0 + 500, text="completed", limit=1000),
    Query(since=T0 - 4999, until=T0 - 10, limit=1000),
    Query(filters={"http.response.status_code": "101"}, limit=1000),
    Query(until=T0 + 20, limit=1000),
    Query(text="書類", limit=1000),
    Query(text="Sekisho.Access", limit=1000),
    Query(filters={"event.dataset": "sekisho.access", "event.type": "allowed"}, limit=1000),
    Query(filters={"event.type": "end"}, limit=1000),
    Query(text='"12"', limit=1000),
    Query(text="SUZUKI", limit=1000),
    Query(text="not there"),
    Query(text="ＳＵＺＵＫＩ", limit=1000),
    Query(text="デンシ書類a", limit=1000),
    Query(text="電子\u3000書類", limit=1000),
    Query(text="user.name"),  # the name of a field, not a value
    Query(filters={"event.id": "worker-1:2:3"}),
    Query(filters={"event.id": "worker-0:1:2"}),
    Query(filters={"event.id": f"R{100:015d}"}),
    Query(filters={"event.id": f"R{3:015d}", "user.name": "sato"}),
    Query(filters={"event.id": "worker-0:1:3:x"}),
    Query(text="WORKER-1:2:", limit=1000),
    Query(actions=frozenset({"session.ended"}), limit=1000),
    Query(actions=frozenset({"session.ended", "journal.opened"}), filters={"user.name": "suzuki"}, limit=30),
    Query(filters={"url.path": '/書類/"23"'}),
    Query(filters={"sekisho.reason": "denied_by_rule", "event.kind": "event"}, limit=3),
    Query(filters={"user.name": "sato"}, text="x0000", limit=4, newest_first=False),
]


@pytest.mark.promise("P6.index-answers-as-journals")
@pytest.mark.parametrize("query", QUESTIONS, ids=[str(n) for n in range(len(QUESTIONS))])
def test_same_answers(places: tuple[Path, Path], query: Query) -> None:
    journals, index = places
    if query.until is None:  # the records of opening a journal bear the time of this test run
        query = replace(query, until=T0 + 1000)
    wanted = list(search(journals, query))
    found = list(reading.search(journals, index, query))
    assert (
        sorted(map(stable, found)) == sorted(map(stable, wanted)) if query.limit == 1000 else len(found) == len(wanted)
    )
    assert [row["@timestamp"] for row in found] == [row["@timestamp"] for row in wanted]


BY = [(), ("sekisho.reason",), ("user.name", "sekisho.app.id"), ("user.group.name",), ("event.type", "user.name")]


@pytest.mark.parametrize("by", BY, ids=["-".join(each) or "all" for each in BY])
@pytest.mark.parametrize("number", [0, 4, 7, 12, 24, 25, 37, 38])
def test_same_counts(places: tuple[Path, Path], number: int, by: tuple[str, ...]) -> None:
    journals, index = places
    query = replace(QUESTIONS[number], until=T0 + 1000)
    counts = reading.count(journals, index, query, by)
    assert counts == counted(search(journals, replace(query, limit=10_000)), by)
    assert counts


def stable(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, ensure_ascii=False)


def test_nothing_is_asked_in_vain(places: tuple[Path, Path]) -> None:
    empty = [number for number, query in enumerate(QUESTIONS) if not list(search(places[0], query))]
    assert empty == [8, 27, 31, 36]


def test_process_answers_and_falls_back_to_the_journals(places: tuple[Path, Path], tmp_path: Path) -> None:
    journals, index = places
    job = {"since": None, "until": None, "filters": {"user.name": "sato"}, "text": "", "limit": 1000, "actions": [],
           "order": "newest"}  # fmt: skip
    (tmp_path / "manifest.json").write_text("{}")

    def ask(folder: Path) -> list[str]:
        line = json.dumps({"journals": str(journals), "index": str(folder), **job}) + "\n"
        child = subprocess.Popen(
            [sys.executable, "-m", "audit.index.query"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(line)
        child.stdin.flush()
        rows = child.stdout.read().splitlines()
        assert child.wait(60) == 0
        return sorted(stable(json.loads(row)) for row in rows)

    wanted = sorted(map(stable, search(journals, Query(filters={"user.name": "sato"}, limit=1000))))
    assert ask(index) == ask(tmp_path) == ask(tmp_path / "none") == wanted


def test_index_killed_at_any_moment_holds_everything_once(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "journal", tmp_path / "log", generate("contract"))
    for number, start in enumerate(range(0, 60, 6)):
        trail.write("worker-0", [r for n in range(start, start + 6) for r in passage(n, complete=n % 5 > 0)])
        writer = IndexWriter(tmp_path / "journal", tmp_path / "index")
        writer.poll(T0)
        if number % 3:
            save_after(writer, crash=number % 2 == 0)
    everything = Query(limit=1000)
    found = [stable(row) for row in answers(tmp_path / "journal", tmp_path / "index", everything)]
    assert len(set(found)) == len(found)
    assert sorted(found) == sorted(map(stable, search(tmp_path / "journal", everything)))


def save_after(writer: IndexWriter, *, crash: bool) -> None:
    """Flush; with `crash` die between the Parquet file and the manifest."""
    if not crash:
        writer.flush()
        writer.compact()
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audit.index.writer.save", die)
        with pytest.raises(KeyboardInterrupt):
            writer.flush()


def die(*_: object) -> None:
    raise KeyboardInterrupt
