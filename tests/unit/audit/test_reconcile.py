"""The copy compared with the journals: every way in which it can differ is named, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.documents import Document
from audit.elastic import reconcile, survey
from audit.elastic.derivation import Derivation, Period
from audit.elastic.differences import Kind, Report
from audit.elastic.reconcile import Asked, Reconciliation
from audit.elastic.survey import Shipped
from audit.event import Action
from audit.segment import Link
from tests.support.small_copy import NOON, MemoryCopy, Writer

DAY = Period(NOON - NOON % 3600, NOON - NOON % 3600 + 6 * 3600)
HOUR = 3600.0


@dataclass
class World:
    """Two writers' journals with documents of every kind, and a copy that has them all."""

    root: Path
    copy: MemoryCopy
    writers: dict[str, Writer]
    done: dict[str, Link]
    shown: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()

    def compare(self, *, repair: bool = False, period: Period = DAY) -> Report:
        asked = Asked(
            self.root, period, Shipped(self.done, self.shown, self.aside), lambda _stored: None,
            self.copy.send if repair else None,
        )  # fmt: skip
        return asyncio.run(Reconciliation(asked, self.copy).run())

    def ship(self) -> None:
        """Store everything that is complete, and let the cursor pass it."""
        self.done = {name: writer.links[-1] for name, writer in self.writers.items()}
        self.copy.put([each.document for each in Derivation(self.root, DAY).documents() if each.needed])

    def body(self, dataset: str, name: str) -> dict[str, Any]:
        return self.copy.backing[0][dataset, name]


@pytest.fixture
def world(tmp_path: Path) -> World:
    first, second = Writer(tmp_path, "worker-0"), Writer(tmp_path, "control")
    for number in range(40):
        wall = NOON + number * 200
        first.request(f"R{number}", wall)
        first.refusal(f"N{number}", wall + 2)
        second.add(Action.SESSION_ENDED, wall, {"sekisho.session.id": f"s{number}"})
        if number % 10 == 9:
            first.seal()
    first.add(Action.TUNNEL_PROGRESS, NOON + 8100, {"http.request.id": "R3"})
    made = World(tmp_path, MemoryCopy(), {"worker-0": first, "control": second}, {})
    made.ship()
    return made


def found(report: Report) -> dict[str, list[str]]:
    return {kind.value: names for kind, names in report.names.items() if names}


def test_a_right_copy_agrees_hour_by_hour_without_a_second_look(world: World) -> None:
    report = world.compare()

    assert (report.equal, report.inspected, found(report)) == (True, 0, {})
    assert (report.total.journal, report.total.stored) == (121, 121)
    assert {dataset for _, dataset in report.rows} == {"access", "session"}
    assert all(row.journal == row.stored > 0 for row in report.rows.values())
    assert world.copy.looked_up == []
    assert world.copy.read == 121  # each document once


@pytest.mark.promise("P6.reconcile-names-missing")
def test_missing_ones_are_named_with_their_gap_and_sent_again_alone(world: World) -> None:
    for dataset, name in (("access", "R7"), ("access", "N7"), ("session", "control:1:12"), ("session", "control:1:13")):
        del world.copy.backing[0][dataset, name]

    report = world.compare()
    assert found(report) == {"missing": ["control:1:12", "control:1:13", "R7", "N7"]}
    assert report.gaps() == ["control:1:12-13", "worker-0:1:22-24"]
    assert not report.mended
    mended = world.compare(repair=True)
    assert (mended.total.missing, mended.total.sent, mended.mended) == (4, 4, True)
    assert world.compare().equal


def test_what_no_search_sees_yet_is_not_missing(world: World) -> None:
    world.copy.unrefreshed = {"R7", "control:1:40"}

    assert world.compare().equal
    assert sorted(world.copy.looked_up) == ["R7", "control:1:40"]


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update({"user.name": "someone else"}),
        lambda body: body.pop("http.response.status_code"),
        lambda body: body.update({"http.response.status_code": 200.0}),
        lambda body: body.update({"@timestamp": "2026-09-21T15:00:00.000Z"}),  # another hour of the period
        lambda body: body.update({"@timestamp": "2027-01-01T00:00:00.000Z"}),  # outside of it
        lambda body: body.update({"sekisho.journal.completed_seq": 999}),  # as if it were on its way
        lambda body: body.update({"sekisho.journal.seq": 1}),
    ],
)
def test_an_edited_one_is_named(world: World, change: Callable[[dict[str, Any]], object]) -> None:
    change(world.body("access", "R7"))

    report = world.compare()
    assert found(report)["changed"] == ["R7"]
    assert not report.counts[Kind.MISSING]
    assert not world.compare(repair=True).mended


@pytest.mark.promise("P6.reconcile-names-foreign")
def test_one_that_no_journal_knows_is_named(world: World) -> None:
    body = dict(world.body("access", "N7"))
    world.copy.put([Document("forged", "access", body | {"event.id": "forged"})])
    world.copy.put([Document("forged.open", "access", body)])
    world.copy.put([Document("plain", "health", {"@timestamp": body["@timestamp"]})])
    world.copy.put([Document("stranger", "access", body | {"sekisho.journal.writer": "worker-9"})])
    world.copy.put([Document("later", "access", body | {"sekisho.journal.seq": 100_000})])
    world.copy.put([Document("N8", "health", world.body("access", "N8"))])

    report = world.compare()
    assert sorted(found(report)["foreign"]) == ["N8", "forged", "forged.open", "later", "plain", "stranger"]
    assert list(found(report)) == ["foreign"]


def test_one_that_two_backing_indices_hold_is_named(world: World) -> None:
    world.copy.backing.append({})
    world.copy.put([Document("R7", "access", world.body("access", "R7"))], 1)

    assert found(world.compare()) == {"twice": ["R7"]}


def test_an_index_that_is_gone_is_stored_again_whole(world: World) -> None:
    world.copy.backing[0].clear()

    report = world.compare(repair=True)
    assert (report.total.missing, report.total.sent, report.mended) == (121, 121, True)
    assert report.gaps() == ["control:1:1-40", "worker-0:1:1-121"]
    assert world.compare().equal


def test_what_the_cursor_has_not_passed_is_on_its_way_whether_stored_or_not(world: World) -> None:
    worker = world.writers["worker-0"]
    worker.request("younger", NOON + 9000)
    worker.request("youngest", NOON + 9001)
    late = {each.document.id: each.document for each in Derivation(world.root, DAY).documents()}
    world.copy.put([late["younger"]])

    report = world.compare()
    assert (report.equal, report.inspected, report.total.on_the_way) == (True, 0, 1)
    world.body("access", "younger")["user.name"] = "someone else"
    assert found(world.compare()) == {"changed": ["younger"]}


def test_open_requests_are_held_against_their_decision(world: World) -> None:
    worker = world.writers["worker-0"]
    worker.request("open", NOON + 9000, None)
    worker.request("long", NOON + 9001, 100)
    world.ship()
    made = {each.document.id: each.document for each in Derivation(world.root, DAY).documents()}
    world.copy.put([made["open.open"], made["long.open"], made["R7.open"]])
    world.shown = frozenset({"open.open"})

    report = world.compare()
    assert (report.equal, report.inspected, report.total.opened) == (True, 0, 3)
    del world.copy.backing[0]["access", "long.open"]  # the whole request stands for it
    assert world.compare().equal
    del world.copy.backing[0]["access", "open.open"]
    assert found(world.compare(repair=True)) == {"missing": ["open.open"]}
    world.body("access", "open.open")["user.name"] = "someone else"
    assert found(world.compare()) == {"changed": ["open.open"]}


def test_dead_letters_are_not_missing(world: World) -> None:
    del world.copy.backing[0]["access", "R7"]
    world.aside = frozenset({"R7"})

    report = world.compare()
    assert (report.equal, report.total.aside) == (True, 1)


@pytest.mark.parametrize("hours", [(0, 1), (1, 2), (2, 3), (0, 3)])
def test_any_period_agrees_although_requests_reach_over_its_ends(tmp_path: Path, hours: tuple[int, int]) -> None:
    worker = Writer(tmp_path, "worker-0")
    for number in range(36):
        worker.request(f"over{number}", DAY.since + number * 300, None)
        if number >= 14:
            worker.complete(f"over{number - 14}", DAY.since + number * 300 + 1)  # 70 minutes later
    made = World(tmp_path, MemoryCopy(), {"worker-0": worker}, {})
    made.ship()

    report = made.compare(period=Period(DAY.since + hours[0] * HOUR, DAY.since + hours[1] * HOUR))
    assert (report.equal, report.inspected) == (True, 0)
    assert report.total.journal == len([number for number in range(22) if hours[0] <= number * 300 // HOUR < hours[1]])


def test_a_clock_that_was_set_back_far_is_no_difference(world: World) -> None:
    world.writers["worker-0"].request("back", DAY.since + HOUR - 5, 4000)
    world.ship()

    first = world.compare(period=Period(DAY.since, DAY.since + HOUR))
    assert (first.equal, first.inspected) == (True, 1)
    world.body("access", "back")["user.name"] = "someone else"
    assert found(world.compare(period=Period(DAY.since, DAY.since + HOUR))) == {"changed": ["back"]}


def test_reading_begins_near_the_period_and_finds_earlier_decisions(tmp_path: Path) -> None:
    worker = Writer(tmp_path, "worker-0")
    worker.request("long", NOON, None)
    for number in range(60):
        worker.request(f"R{number}", NOON + 1 + number * 200)
        if number % 5 == 4:
            worker.seal()
    worker.complete("long", NOON + 12_500)
    made = World(tmp_path, MemoryCopy(), {"worker-0": worker}, {})
    made.ship()
    last = Period(DAY.since + 3 * HOUR, DAY.since + 4 * HOUR)

    report = made.compare(period=last)
    assert (report.equal, report.inspected) == (True, 0)
    assert report.records < 70  # of 122
    assert made.compare().equal


def test_a_journal_that_breaks_is_told_and_the_others_are_compared(world: World) -> None:
    path = sorted((world.root / "worker-0").iterdir())[1]
    path.write_bytes(path.read_bytes().replace(b'"sekisho.reason":"denied"', b'"sekisho.reason":"allows"', 1))
    del world.copy.backing[0]["session", "control:1:12"]

    report = world.compare()
    assert [name.split(":")[0] for name in found(report)["unreadable"]] == ["worker-0/000001-000000000031.jsonl"]
    assert found(report)["missing"] == ["control:1:12"]
    assert "foreign" not in found(report)


def test_deleted_records_are_expired_not_foreign(tmp_path: Path) -> None:
    worker = Writer(tmp_path, "worker-0.anonymous")
    for number in range(20):
        worker.refusal(f"N{number}", NOON + number)
        if number % 5 == 4:
            worker.seal()
    made = World(tmp_path, MemoryCopy(), {"worker-0.anonymous": worker}, {})
    made.ship()
    min((tmp_path / "worker-0.anonymous").iterdir()).unlink()

    report = made.compare()
    assert (report.equal, report.total.expired, report.total.journal) == (True, 5, 15)


def test_records_at_the_end_of_their_retention_are_expired_but_a_forged_place_is_not(world: World) -> None:
    worker = world.writers["worker-0"]
    worker.expire(0)
    body = dict(world.body("access", "N30"))

    report = world.compare()
    assert (report.equal, report.total.expired, report.total.journal) == (True, 20, 101)
    world.copy.put([Document("forged", "access", body | {"sekisho.journal.epoch": 2, "sekisho.journal.seq": 7})])
    assert found(world.compare()) == {"foreign": ["forged"]}


def test_a_completion_whose_decision_has_expired_is_accounted_for(tmp_path: Path) -> None:
    worker = Writer(tmp_path, "worker-0")
    worker.request("long", NOON, None)
    worker.refusal("N1", NOON + 1)
    worker.seal()
    worker.complete("long", NOON + 60)
    worker.refusal("N2", NOON + 61)
    made = World(tmp_path, MemoryCopy(), {"worker-0": worker}, {})
    made.ship()
    worker.expire(0)

    report = made.compare()
    assert (report.equal, report.total.journal, report.total.expired) == (True, 1, 2)


@pytest.mark.parametrize("part", [1, 7, 50])
def test_small_portions_find_the_same(world: World, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "PART", part)
    monkeypatch.setattr(reconcile, "BATCH", 3)
    for number in range(0, 40, 3):
        del world.copy.backing[0]["access", f"R{number}"]
        world.body("session", f"control:1:{number + 1}")["user.name"] = "someone else"

    report = world.compare()
    assert {kind.value: count for kind, count in report.counts.items() if count} == {"missing": 14, "changed": 14}
    assert (report.total.journal, report.total.stored) == (121, 107)


def test_a_wrong_checkpoint_is_told_with_its_fault(world: World) -> None:
    world.copy.put([Document("checkpoint:o:7", "health", {"@timestamp": "2026-09-21T15:00:00.000Z"})])
    asked = Asked(
        world.root, DAY, Shipped(world.done, frozenset(), frozenset()), lambda _stored: (Kind.CHECKPOINT, "x")
    )

    report = asyncio.run(Reconciliation(asked, world.copy).run())
    assert found(report) == {"checkpoint": ["checkpoint:o:7: x"]}
