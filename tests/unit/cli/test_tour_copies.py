"""The tour's own count of documents: what the journals call for, and what it says of a copy that differs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from audit.documents import OPEN_AFTER, Folder
from cli.tour.copies import called_for, differences

MOMENT = "2026-11-22T09:00:00.000Z"


def record(seq: int, action: str, request: str = "", verdict: str = "", writer: str = "worker-0") -> dict[str, Any]:
    found = {
        "v": 1, "writer": writer, "epoch": 2, "seq": seq, "prev": "0", "@timestamp": MOMENT, "event.action": action,
        "event.dataset": "sekisho.access",
    }  # fmt: skip
    return found | ({"http.request.id": request} if request else {}) | ({"sekisho.verdict": verdict} if verdict else {})


RECORDS = [
    record(1, "process.started"),
    record(2, "request.decided", "A", "forward"),
    record(3, "request.decided", "B", "refuse"),
    record(4, "request.decided", "C", "local"),
    record(5, "request.completed", "A"),
    record(6, "tunnel.progress", "C"),
    record(7, "request.decided", "D", "forward"),
    record(8, "request.completed", "gone"),
    record(9, "admin.called", "E"),
]


def test_each_kind_of_record_calls_for_its_document() -> None:
    found = called_for(RECORDS)
    assert found.whole == {
        "worker-0:2:1": "worker-0:2:1", "A": "worker-0:2:2", "B": "worker-0:2:3", "C.p2:6": "worker-0:2:6",
        "worker-0:2:8": "worker-0:2:8", "worker-0:2:9": "worker-0:2:9",
    }  # fmt: skip
    assert found.since.keys() == {"C.open", "D.open"}
    assert found.opened == {"A.open": "worker-0:2:2", "C.open": "worker-0:2:4", "D.open": "worker-0:2:7"}
    assert found.due(0.0) == found.whole
    assert found.due(time.time() + 1e9).keys() == found.whole.keys() | {"C.open", "D.open"}


def test_it_agrees_with_what_the_shipper_makes_of_the_same_records() -> None:
    folder = Folder()
    made = [document for each in RECORDS for document in folder.take(each, 0.0)] + folder.overdue(OPEN_AFTER)
    parts = ("writer", "epoch", "seq")
    places = {each.id: ":".join(str(each.body[f"sekisho.journal.{part}"]) for part in parts) for each in made}
    assert places == called_for(RECORDS).due(time.time() + 1e9)


@pytest.mark.parametrize(
    ("copy", "said"),
    [
        ({"A": ["w:1:1"], "B": ["w:1:2"]}, []),
        ({"A": ["w:1:1"], "B": ["w:1:2"], "C": ["w:1:3"]}, []),
        ({"A": ["w:1:1"]}, ["1 missing (such as B)"]),
        ({"A": ["w:1:1", "w:1:1"], "B": ["w:1:2"]}, ["1 twice (such as A)"]),
        ({"A": ["w:1:1"], "B": ["w:1:2"], "X": ["w:1:9"]}, ["1 too much (such as X)"]),
        ({"A": ["w:1:1"], "B": ["w:1:3"]}, ["1 of another record (such as B)"]),
        ({}, ["2 missing (such as A)"]),
    ],
)
def test_what_differs_is_named(copy: dict[str, list[str]], said: list[str]) -> None:
    due = {"A": "w:1:1", "B": "w:1:2"}
    assert differences(due, copy, due | {"C": "w:1:3"}) == said
