"""What outlets write: nested ECS objects, and syslog messages that a reader of RFC 5424 takes apart again."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from audit.documents import Document
from audit.ecs import FIELDS
from audit.outlets.message import LONGEST, frame
from audit.outlets.nested import nested

BODY: dict[str, Any] = {
    "@timestamp": "2026-09-21T14:13:20.000Z", "event.action": "request.decided", "event.kind": "event",
    "event.outcome": "success", "event.id": "R1", "user.name": "田中", "sekisho.journal.writer": "worker-0",
    "sekisho.facts": {"user.kind": "staff"}, "url.path": '/a"]\r\nb',
}  # fmt: skip
MESSAGE = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) "
    r'(?P<id>[!-~]{1,32}) (?P<data>\[[a-z]+ [a-z]+="[^"]*"\]) (?P<text>\{[ -~]*\})'
)


def read(framed: bytes) -> tuple[re.Match[str], dict[str, Any]]:
    """Take one frame apart (RFC 5425 §4.3.1), then its message (RFC 5424 §6)."""
    length, _, message = framed.partition(b" ")
    assert int(length) == len(message)
    found = MESSAGE.fullmatch(message.decode("ascii"))
    assert found is not None
    return found, json.loads(found["text"])


def test_no_field_is_the_beginning_of_another() -> None:
    names = set(FIELDS)
    assert [name for name in names if any(other.startswith(name + ".") for other in names)] == []


def test_dotted_names_become_objects_and_facts_keep_theirs() -> None:
    assert nested({"a.b": 1, "a.c.d": [2], "e": {"f.g": 3}}) == {"a": {"b": 1, "c": {"d": [2]}}, "e": {"f.g": 3}}


def test_a_message_is_one_line_of_ascii_with_everything_in_it() -> None:
    found, document = read(frame(Document("R1", "access", BODY), "門番.example jp"))
    assert (found["pri"], found["time"], found["app"]) == ("110", "2026-09-21T14:13:20.000Z", "sekisho")
    assert (found["proc"], found["id"], found["host"]) == ("worker-0", "request.decided", "__.example_jp")
    assert document == nested(BODY)


@pytest.mark.parametrize(
    ("more", "severity"),
    [({"event.kind": "alert"}, 4), ({"event.outcome": "failure"}, 5), ({}, 6)],
)
def test_severity_says_what_to_look_at(more: dict[str, Any], severity: int) -> None:
    found, _ = read(frame(Document("R1", "access", BODY | more), "host"))
    assert int(found["pri"]) == 13 * 8 + severity


@pytest.mark.parametrize("field", ["sekisho.facts", "user_agent.original", "url.path"])
def test_a_long_message_is_shortened_and_says_so(field: str) -> None:
    long: Any = {"x": "y" * 9000} if field == "sekisho.facts" else "長" * 9000
    framed = frame(Document("R1", "access", BODY | {field: long}), "host")
    found, document = read(framed)
    assert len(found.group().encode()) <= LONGEST
    assert document["tags"] == ["shortened"]
    assert (document["event"]["id"], document["user"]["name"]) == ("R1", "田中")
