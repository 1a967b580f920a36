"""The trail in words: every reason has them, and a line tells who, what, allowed or refused, why, which number."""

from __future__ import annotations

import pytest

from cli.render import trail
from policies.reasons import Reason

RECORD = {
    "@timestamp": "2026-11-22T00:00:00.000Z", "event.action": "request.decided", "event.outcome": "failure",
    "user.name": "a1001", "url.domain": "juki.city.example", "url.path": "/search", "http.request.method": "GET",
    "sekisho.verdict": "refuse", "sekisho.reason": "unmet_conditions", "rule.id": "juki-staff",
    "http.request.id": "1M817BC01A4S3809",
}  # fmt: skip


@pytest.fixture
def japanese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "t", lambda ja, en: ja)


@pytest.mark.usefixtures("japanese")
def test_a_refusal_reads_as_a_sentence() -> None:
    told = [f(RECORD) for f in (trail.who, trail.action, trail.subject, trail.outcome, trail.why, trail.reference)]
    assert told == [
        "a1001", "アクセス", "GET juki/search", "拒否", "利用条件を満たさない", "1M81-7BC0-1A4S-3809",
    ]  # fmt: skip


@pytest.mark.usefixtures("japanese")
@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_said_in_words(reason: Reason) -> None:
    said = trail.why({"sekisho.reason": reason.value})
    assert said.isascii() == (said == "")


def test_a_record_of_nobody_still_has_a_line() -> None:
    assert trail.who({}) == "-"
    assert trail.subject({}) == ""


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"event.action": "process.started", "sekisho.worker": "worker-1", "event.id": "worker-1:2:2"}, "worker-1"),
        ({"event.action": "posture.synced", "event.id": "control:1:7"}, "control"),
        ({"event.action": "process.died", "process.name": "steward", "event.id": "supervisor:1:9"}, "steward"),
        ({"event.action": "clock.jumped"}, "-"),
    ],
)
def test_an_act_of_no_person_names_the_process(record: dict[str, str], name: str) -> None:
    assert trail.who(record) == name


def test_a_record_of_many_says_how_many() -> None:
    assert trail.subject({"event.action": "request.coalesced", "sekisho.count": 12}) == "12 件"
