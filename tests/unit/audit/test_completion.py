"""A forwarded request's lines: pinned by bytes in both shapes, and both shapes mean the same to every reader."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.completion import NAMED, decisions, fold, leans, named
from audit.detect.engine import Engine
from audit.documents import Document, documents
from audit.event import IMPLIED, Action, check, event, short
from audit.query import Query
from audit.reader import JournalReader
from audit.search import Following, search, show
from audit.segment import record_of
from audit.verify import verify_journals
from tests.support.gate_world import NOW
from tests.support.passages import IDS, Lines, laid, passages
from tests.support.trails import Trail

GOLDEN = Path(__file__).parents[2] / "golden" / "audit" / "passages"
WHOLE, SHORT = GOLDEN / "whole", GOLDEN / "short"
MASKED = GOLDEN / "masked"  # as the gate writes since masked segments have their digests listed, too
HOURS = 7200.5  # seconds that the WebSocket lived
FIRST, SOCKET, PAGE = IDS


def event_of(line: bytes) -> dict[str, Any]:
    """What a line says, read whole, without its place."""
    frame = ("v", "writer", "epoch", "seq", "prev")
    return {name: value for name, value in record_of(line).items() if name not in frame}


def lines_of(root: Path) -> list[bytes]:
    reader, found = JournalReader(root, "worker-0"), []
    while records := reader.read():
        found += [record.line for record in records]
    return found


@pytest.mark.promise("P5.format-pinned")
def test_the_gate_makes_the_golden_bytes() -> None:
    assert passages() == lines_of(MASKED)


@pytest.mark.promise("P5.format-pinned")
@pytest.mark.parametrize("root", [WHOLE, SHORT, MASKED], ids=["whole", "short", "masked"])
def test_lines_of_all_shapes_verify(root: Path) -> None:
    assert verify_journals(root).records == 6


def test_a_forwarded_request_leaves_out_what_is_implied_and_only_its_completion_leans() -> None:
    for line in lines_of(SHORT):
        record = record_of(line)
        assert check(event_of(line)) == []
        assert leans(line) is (record["event.action"] == "request.completed" and record["http.request.id"] != PAGE)
        if record["http.request.id"] != PAGE:
            assert not [name for name in IMPLIED if f'"{name}"'.encode() in line]
    assert not any(leans(line) for line in lines_of(WHOLE))


def test_read_whole_and_with_who_and_what_both_shapes_are_the_same_records() -> None:
    old, new = ([event_of(line) for line in lines_of(root)] for root in (WHOLE, SHORT))
    decided = {record["http.request.id"]: record for record in new[:3]}
    new[3:] = [{**named(decided[record["http.request.id"]]), **record} for record in new[3:]]
    assert old == new


def placed(made: list[Document]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(each.id, each.dataset, each.body) for each in made]


@pytest.mark.parametrize("cut", range(7))
def test_both_shapes_give_the_same_documents(cut: int) -> None:
    """Whatever has been read so far: a request still open is shown as it was decided."""
    old, new = (documents([record_of(line) for line in lines_of(root)[:cut]], NOW) for root in (WHOLE, SHORT))
    assert placed(old) == placed(new)
    assert len(old) == min(cut, 3)


WORDS = st.sampled_from(["tanaka", "access", "denied", "多い", '"', "user_disabled"])
DECIDED_FIELDS = st.fixed_dictionaries(dict.fromkeys(NAMED, WORDS), optional={"sekisho.zone": WORDS})
ENDED_FIELDS = st.fixed_dictionaries(
    {"event.outcome": st.sampled_from(["success", "failure"]), "sekisho.outcome": WORDS},
    optional={"sekisho.reason": WORDS, "error.message": WORDS},
)


@st.composite
def journals(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Requests that overlap, some refused, some still open: all that a line can say, and what it needs to say."""
    old, new, waiting = Lines(), Lines(), []
    for number in range(draw(st.integers(1, 6))):
        verdict, outcome = draw(st.sampled_from([("forward", "success"), ("refuse", "failure")]))
        own = {
            "http.request.id": f"R{number:015d}", "sekisho.verdict": verdict, "event.outcome": outcome,
            "event.type": ["access", "allowed" if outcome == "success" else "denied"],
        }  # fmt: skip
        decision = event(Action.REQUEST_DECIDED, NOW + number, {**draw(DECIDED_FIELDS), **own})
        old.append(decision, False, None)
        new.append(short(decision), False, None)
        waiting += [decision] if verdict == "forward" else []
        while waiting and draw(st.booleans()):
            ended = waiting.pop(draw(st.integers(0, len(waiting) - 1)))
            own = {**draw(ENDED_FIELDS), "http.request.id": ended["http.request.id"]}
            old.append(event(Action.REQUEST_COMPLETED, NOW + number + 0.5, {**named(ended), **own}), False, None)
            new.append(short(event(Action.REQUEST_COMPLETED, NOW + number + 0.5, own)), False, None)
    return old.lines, new.lines


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(journals(), WORDS, st.sampled_from(["user.name", "sekisho.reason", "event.type", "event.outcome"]))
def test_whatever_is_written_short_means_the_same(lines: tuple[list[bytes], list[bytes]], word: str, name: str) -> None:
    old, new = lines
    assert placed(documents(map(record_of, old), NOW)) == placed(documents(map(record_of, new), NOW))
    with tempfile.TemporaryDirectory() as folder:
        roots = [laid(Path(folder, str(number)), written) for number, written in enumerate(lines)]
        for query in (Query(), Query(text=word), Query(filters={name: word})):
            assert list(search(roots[0], query)) == list(search(roots[1], query))
        for seq in range(1, len(old) + 1):
            assert show(roots[0], f"worker-0:1:{seq}") == show(roots[1], f"worker-0:1:{seq}")


QUERIES = [
    Query(),
    Query(newest_first=False, limit=1),
    Query(filters={"user.name": "tanaka", "http.response.status_code": "200"}),
    Query(filters={"user.name": "nobody"}),
    Query(filters={"event.dataset": "sekisho.access"}),
    Query(filters={"event.type": "allowed", "event.category": "web", "event.kind": "event", "ecs.version": "9.4.0"}),
    Query(filters={"event.type": "denied"}),
    Query(filters={"sekisho.reason": "user_disabled", "user.name": "tanaka"}),
    Query(filters={"http.request.id": SOCKET}),
    Query(text="NETWORK"),
    Query(text="ＮＥＴｗork"),
    Query(text="多い"),
    Query(text="users_disabled"),
    Query(actions=frozenset({"request.decided"})),
    Query(since=NOW - 1, until=NOW + 1),
    Query(since=NOW + 1),
    Query(since=NOW + HOURS - 1, filters={"user.name": "tanaka"}),
]


@pytest.mark.parametrize("query", QUERIES, ids=[str(at) for at in range(len(QUERIES))])
def test_both_shapes_give_the_same_answers(query: Query) -> None:
    assert list(search(WHOLE, query)) == list(search(SHORT, query))


def test_no_question_is_asked_in_vain() -> None:
    assert [at for at, query in enumerate(QUERIES) if not list(search(SHORT, query))] == [3, 6, 12, 15, 16]


def test_one_record_by_its_place_says_who_and_what() -> None:
    for seq in range(1, 7):
        old, new = (show(root, f"worker-0:1:{seq}") for root in (WHOLE, SHORT))
        assert old == new
        assert old[0]["user.name"] == "tanaka"
    assert show(WHOLE, FIRST) == show(SHORT, FIRST)


def told_by(lines: list[bytes], query: Query, begun: int, root: Path) -> list[dict[str, Any]]:
    """What a follower tells of the lines from number `begun` on."""
    laid(root, lines[:begun])
    following = Following(root, query)
    file = next((root / "worker-0").iterdir())
    found = []
    for line in lines[begun:]:
        file.write_bytes(file.read_bytes() + line)
        found += following.poll()
    return found


@pytest.mark.parametrize("actions", [frozenset(), frozenset({"request.completed"}), frozenset({"request.decided"})])
@pytest.mark.parametrize("begun", [1, 2, 3, 4, 5])
def test_a_follower_tells_no_less_of_a_short_completion(begun: int, actions: frozenset[str], tmp_path: Path) -> None:
    query = Query(filters={"user.name": "tanaka"}, actions=actions)
    old = told_by(lines_of(WHOLE), query, begun, tmp_path / "old")
    new = told_by(lines_of(SHORT), query, begun, tmp_path / "new")
    assert len(old) == len(new) > 0 or actions == {"request.decided"}
    for one, other in zip(old, new, strict=True):
        assert one.items() <= other.items()


@pytest.mark.parametrize("root", [WHOLE, SHORT], ids=["whole", "short"])
def test_a_connection_cut_off_is_no_try_of_a_disabled_account(root: Path, tmp_path: Path) -> None:
    """The socket of somebody just disabled ends with that reason; nobody tried anything."""
    engine = Engine(laid(tmp_path / "journal", lines_of(root)), tmp_path / "detect.json")
    assert engine.poll() == (6, [])


def test_a_completion_without_its_decision_stands_alone_with_its_id(tmp_path: Path) -> None:
    alone = lines_of(SHORT)[4]
    root = laid(tmp_path, [alone])
    (made,) = documents([record_of(alone)], NOW)
    assert (made.id, made.dataset, made.body["http.request.id"]) == ("worker-0:1:5", "access", SOCKET)
    (found,) = search(root, Query(filters={"http.request.id": SOCKET}))
    assert (found["event.dataset"], found["sekisho.reason"]) == ("sekisho.access", "user_disabled")
    assert show(root, "worker-0:1:1") == [found]
    assert list(search(root, Query(filters={"user.name": "tanaka"}))) == []
    assert decisions(root, "worker-0", [SOCKET.encode()]) == {}


def test_a_completion_that_cannot_be_read_is_told_with_its_decision() -> None:
    broken = {"error.type": "unreadable_record"}
    assert fold({"user.id": "u1"}, broken) == {"user.id": "u1", **broken, "event.end": ""}


@pytest.mark.parametrize("shape", ["whole", "short"])
def test_a_request_belongs_to_the_time_when_it_was_decided(trail: Trail, shape: str) -> None:
    """Also where it ended much later: its completion is no answer of its own, whether the walk comes to both or not."""
    decided, _, _, ended = [event_of(line) for line in lines_of(WHOLE if shape == "whole" else SHORT)][1:5]
    between = {**decided, "@timestamp": "2026-09-21T16:00:00.000Z", "http.request.id": FIRST}
    trail.write("worker-0", [decided, *([between] * 11), ended], segment_bytes=1)
    who = {"user.name": "tanaka"}
    assert list(search(trail.journals, Query(since=NOW + HOURS - 60, until=NOW + HOURS + 60, filters=who))) == []
    assert list(search(trail.journals, Query(since=NOW + HOURS - 60, until=NOW + HOURS + 60))) == []
    (found,) = search(trail.journals, Query(since=NOW, until=NOW + 60, filters=who))
    assert (found["event.action"], found["@timestamp"]) == ("request.decided", decided["@timestamp"])
    assert (found["event.end"], found["sekisho.reason"]) == (ended["@timestamp"], "user_disabled")
