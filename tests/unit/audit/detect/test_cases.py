"""Signals become cases: joined, never told twice, also not after a crash, and their state is what the records say."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from audit.cases import Case, CaseBook, CaseReader
from audit.detect.detection import Detection
from audit.detect.engine import QUIET, Engine, case_record
from audit.detect.signal import Kind, Severity, Signal
from audit.event import Action, check, event
from audit.journal import Journal
from tests.unit.audit.detect.test_detectors import after_end, started

NOW = 1_790_000_000.0


def signal(at: float = NOW, kind: Kind = Kind.ENDED_SESSION_USED, user: str = "u1") -> Signal:
    return Signal(
        kind, Severity.LOW, f"session:s-{user}", at, ("worker-0:1:1",), "説明", "sekisho …", (f"user:{user}",), {}
    )  # fmt: skip


def act(action: Action, case: str, **more: Any) -> dict[str, Any]:
    return event(
        action, NOW + 5, {"sekisho.case.id": case, "sekisho.by": "ciso", "sekisho.justification": "確認", **more}
    )


def test_records_of_cases_have_only_declared_fields() -> None:
    record = case_record(signal(), None, NOW)
    closed = act(Action.CASE_CLOSED, "c-1", **{"sekisho.case.verdict": "benign"})
    assert check(record) == []
    assert check(closed) == []


def test_state_follows_the_records_and_taking_them_twice_changes_nothing() -> None:
    opened = case_record(signal(), None, NOW)
    name = opened["sekisho.case.id"]
    records = [
        opened, act(Action.CASE_ACKNOWLEDGED, name),
        act(Action.CASE_CLOSED, name, **{"sekisho.case.verdict": "benign"}),
        act(Action.CASE_ACKNOWLEDGED, name),
    ]  # fmt: skip
    states = []
    book = CaseBook()
    for record in [*records, *records]:
        book.take(record)
        states.append(book.cases[name].state)
    assert states == ["open", "acknowledged", "closed", *["closed"] * 5]
    assert book.cases[name].closed["verdict"] == "benign"
    assert len(book.cases[name].findings) == 1


def test_signals_about_the_same_person_are_one_case_until_it_is_closed() -> None:
    book = CaseBook()

    def add(found: Signal) -> str:
        joins = frozenset({found.subject, *found.joins})
        record = case_record(found, book.joined(joins, ""), found.at)
        book.take(record)
        return str(record["sekisho.case.id"])

    first = add(signal())
    assert add(signal(kind=Kind.SESSION_ON_TWO_DEVICES)) == first
    assert add(signal(user="u2")) != first
    book.take(act(Action.CASE_CLOSED, first))
    assert add(signal(kind=Kind.DISABLED_ACCOUNT_TRIED)) != first


def write(root: Path, writer: str, records: list[dict[str, Any]]) -> None:
    async def main() -> None:
        journal = Journal(root, writer, segment_bytes=1 << 20, segment_age=3600, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        for record in records:
            await journal.record(record)
        journal.close(5)

    asyncio.run(main())


def timed(records: list[dict[str, Any]], at: float) -> list[dict[str, Any]]:
    return [event(Action(record.pop("event.action")), at + number, record) for number, record in enumerate(records)]


def detect(root: Path, state: Path, *, kill: bool = False) -> list[Case]:
    """Run detection to the end of the journals; return all cases on record. `kill`: die before the place is saved."""

    async def main() -> None:
        journal = Journal(root, "auditor", segment_bytes=1 << 20, segment_age=3600, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        engine = Engine(root, state)
        detection = Detection(root, state, journal, time.time)
        for _ in range(3):
            _, signals = engine.poll()
            for each in signals:
                await detection._tell(engine, each)
        if not kill:
            engine.save()
        journal.close(5)

    asyncio.run(main())
    return list(CaseReader(root).poll().cases.values())


@pytest.mark.promise("P6.each-finding-recorded-once")
@pytest.mark.parametrize("kill", [False, True], ids=["saved", "killed"])
def test_a_restart_tells_nothing_twice(tmp_path: Path, *, kill: bool) -> None:
    root, state = tmp_path / "journal", tmp_path / "detect.json"
    far = {"source.ip": "203.0.113.9"}
    write(root, "worker-0", timed([started(), after_end("session_revoked"), after_end("session_revoked", **far)], NOW))
    first = detect(root, state, kill=kill)
    assert len(first) == 1
    assert detect(root, state) == first
    write(root, "worker-0", timed([after_end("session_revoked", **far)], NOW + QUIET + 60))
    later = detect(root, state)
    assert [case.id for case in later] == [first[0].id]
    assert len(later[0].findings) == len(first[0].findings) + 1
