"""What a record is: every action has a shape, times and texts have one form, strangers cannot break a line."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.ecs import FIELDS
from audit.event import BASE, IMPLIED, SHAPES, Action, check, event, short, text, timestamp, whole

CATEGORIES = {"authentication", "configuration", "file", "host", "iam", "intrusion_detection", "network",
              "process", "session", "web"}  # fmt: skip
TYPES = {"access", "admin", "allowed", "change", "connection", "creation", "deletion", "denied", "end", "error",
         "info", "start", "user"}  # fmt: skip
NASTY = ["\r\nINFO forged", "\x1b[2J", "\u2028\u2029", '","user.id":"root', "\x00", "\ud800", b"\xff\xfe\\xff", b"\\"]


@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_a_shape_in_terms_of_the_schema(action: Action) -> None:
    shape = SHAPES[action]
    assert shape.dataset.startswith("sekisho.")
    assert shape.kind in {"event", "state", "alert"}
    assert set(shape.category) <= CATEGORIES
    assert set(shape.type) <= TYPES
    assert check(event(action, 0.0)) == []


def test_constant_fields_are_fields() -> None:
    assert all(name in FIELDS for base in BASE.values() for name in base)


OUTCOMES: list[dict[str, Any]] = [{}, {"event.outcome": "success"}, {"event.outcome": "failure"}]


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("action", list(Action))
def test_a_record_without_what_its_action_implies_says_the_same(action: Action, outcome: dict[str, Any]) -> None:
    by_outcome = {"success": ["access", "allowed"], "failure": ["access", "denied"]}
    kind = by_outcome.get(outcome.get("event.outcome", "")) if action is Action.REQUEST_DECIDED else None
    record = event(action, 1.0, {**outcome, "user.id": "u1", "event.type": kind})
    line = {"@timestamp": record["@timestamp"], "event.action": action.value, "user.id": "u1", **outcome}
    assert short(record) == line
    assert whole(dict(line)) == record
    assert whole(dict(record)) == record
    for name in IMPLIED - {"ecs.version"}:  # a line may leave out some of them
        assert whole({**line, name: record[name]}) == record


def test_what_a_line_says_itself_stands() -> None:
    said = {"event.action": "request.decided", "event.outcome": "success", "event.type": ["access"]}
    record = whole(dict(said))
    assert (record["event.type"], record["event.kind"]) == (["access"], "event")
    assert short(record) == said
    for version in ("1.0.0", "9.4.0"):
        old = {"event.action": "request.decided", "ecs.version": version}
        assert whole(dict(old)) == old
    later = {**record, "ecs.version": "9.5.0"}
    assert short(later) == later


@pytest.mark.parametrize("strange", [{}, {"event.action": "made.up"}, {"event.action": ["a"]}, {"event.action": None}])
def test_what_is_no_action_implies_nothing(strange: dict[str, Any]) -> None:
    assert whole(strange) == short(strange) == strange


@pytest.mark.parametrize("outcome", ["unknown", "", ["success"], {}])
def test_a_decision_with_another_outcome_is_neither_allowed_nor_denied(outcome: object) -> None:
    assert whole({"event.action": "request.decided", "event.outcome": outcome})["event.type"] == ["access"]


@pytest.mark.parametrize(
    ("wall", "expected"),
    [(0.0, "1970-01-01T00:00:00.000Z"), (1_700_000_000.9996, "2023-11-14T22:13:20.999Z"),
     (951_827_696.25, "2000-02-29T12:34:56.250Z")],
)  # fmt: skip
def test_times_are_rfc_3339_with_milliseconds(wall: float, expected: str) -> None:
    assert timestamp(wall) == expected
    assert timestamp(wall) == expected  # from the memo


def test_a_record_leaves_out_what_is_not_known_and_lets_a_decision_say_its_type() -> None:
    record = event(Action.REQUEST_DECIDED, 1.0, {"user.id": None, "event.type": ["access", "denied"]})
    assert "user.id" not in record
    assert record["event.type"] == ["access", "denied"]


def test_check_names_every_fault() -> None:
    record = event(Action.REQUEST_DECIDED, 1.0, {"user.idd": "x", "source.port": "80", "event.action": "made.up"})
    del record["event.kind"]
    faults = check(record)
    assert [fault.split(":")[0] for fault in faults] == ["event.kind", "event.action", "user.idd", "source.port"]


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.promise("P5.one-record-one-line")
def test_no_value_breaks_out_of_its_record(value: str | bytes) -> None:
    line = orjson.dumps({"user_agent.original": text(value)})
    assert b"\n" not in line
    assert b"\r" not in line
    assert b"\x1b" not in line
    assert b"\x00" not in line
    assert list(orjson.loads(line)) == ["user_agent.original"]


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_different_bytes_never_look_alike(one: bytes, other: bytes) -> None:
    assert (text(one) == text(other)) == (one == other)


@given(st.binary(max_size=40))
def test_the_bytes_can_be_recovered(value: bytes) -> None:
    shown, found, at = text(value), bytearray(), 0
    while at < len(shown):
        if shown[at] != "\\":
            found += shown[at].encode()
            at += 1
        elif shown[at + 1] == "\\":
            found += b"\\"
            at += 2
        else:
            found.append(int(shown[at + 2 : at + 4], 16))
            at += 4
    assert bytes(found) == value
