"""The comparison of the app's list with the journal finds what does not fit: else it would prove nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.agreement import compare


def decision(name: str, **changes: Any) -> dict[str, Any]:
    given = {
        "event.action": "request.decided", "sekisho.verdict": "forward", "http.request.id": name, "writer": "worker-0",
        "epoch": 1, "http.request.method": "POST", "url.path": "/a",
    }  # fmt: skip
    return given | changes


def end(name: str, outcome: str = "complete", first_byte: float | None = 1.0) -> dict[str, Any]:
    return {
        "event.action": "request.completed", "http.request.id": name, "sekisho.outcome": outcome,
        "sekisho.upstream.first_byte_ms": first_byte,
    }  # fmt: skip


def saw(name: str, line: str = "POST /a?x=1 HTTP/1.1") -> list[dict[str, Any]]:
    return [{"id": name, "line": line}, {"id": name, "whole": True}]


@pytest.mark.parametrize(
    ("seen", "records", "fault"),
    [
        (saw("1"), [], "no decision"),
        (saw("1"), [decision("1", **{"sekisho.verdict": "refuse"}), end("1")], "no decision"),
        (saw("1"), [decision("1")], "neither a completion nor a death"),
        (saw("1", "POST /b HTTP/1.1"), [decision("1"), end("1")], "decided was /a"),
        (saw("1") + saw("1"), [decision("1"), end("1")], "saw it 2 times"),
        (saw("1")[:1], [decision("1"), end("1")], "did not get its body"),
        ([], [decision("1"), end("1")], "the app knows nothing"),
        ([], [decision("1"), end("1", "client_gone")], "the app knows nothing"),
        ([], [decision("1")], "neither a completion nor a death"),
    ],
)
def test_finds_what_does_not_fit(seen: list[dict[str, Any]], records: list[dict[str, Any]], fault: str) -> None:
    (found,) = compare(seen, records, set()).faults
    assert fault in found


def test_explains_what_was_never_sent_or_never_whole() -> None:
    records = [
        decision("whole"), end("whole"), decision("left"), end("left", "client_gone", None),
        decision("killed", epoch=0), decision("half"), end("half", "malformed_request", None),
    ]  # fmt: skip
    found = compare([*saw("whole"), saw("half")[0]], records, {("worker-0", 0)})
    assert found.faults == ()
    assert (found.seen, found.decided, found.incomplete, found.unsent) == (2, 4, 1, 2)
    assert found.cut_short == {("worker-0", 0): 1}
