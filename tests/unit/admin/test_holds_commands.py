"""Holds and retention as operators command them: what is planned, what is kept, what is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from audit import holds as hold_file
from audit.retention import RetentionClass
from gateway.admin import retention
from gateway.admin.endpoint import CHANGERS, CISO_ONLY, Arguments, Call, Change, Listing, Operator, Reply, Role
from gateway.admin.endpoints import endpoints
from gateway.admin.problem import AdminReason, Problem
from gateway.identity.context import ControlContext
from gateway.settings_parts.bounds import RetentionSettings
from gateway.state.records import Session, User
from tests.support.house import DAY, START, House

CISO = User("u1", "suzuki", "鈴木", "", "", (), "staff", ("ciso",), False, None, "", START)


class Desk:
    """A CISO at the commands of one house."""

    def __init__(self, house: House) -> None:
        self.house = house
        paths = SimpleNamespace(journal=house.trail.journals)
        settings = SimpleNamespace(paths=paths, retention=RetentionSettings(access_days=184))
        self.context = cast("ControlContext", SimpleNamespace(settings=settings))

    def give(self, handler: Any, arguments: Arguments) -> Any:
        operator = Operator(CISO, cast("Session", None), frozenset({Role.CISO}))
        reply = asyncio.run(handler(Call(self.context, operator, arguments, "R1", self.house.now)))
        assert isinstance(reply, Reply)
        return reply.data

    def add(self, **given: Any) -> Any:
        return self.give(retention.holds_add, retention.AddHold(reason="審査請求", **given))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Two writers' records of one minute, compressed; a year later."""
    house = House(tmp_path)
    house.filled()
    house.filled("control")
    house.now += DAY
    house.keep(3)
    house.now += 364 * DAY
    return Desk(house)


def test_what_is_kept_is_told_by_writer(desk: Desk) -> None:
    told = desk.give(retention.retention, Arguments())
    rows = {row["writer"]: row for row in told["items"]}
    worker = rows["worker-0"]
    assert (worker["kind"], worker["records"], worker["expired"]) == ("access", 61, 0)
    assert worker["segments"] == len(desk.house.forms())
    assert worker["oldest_at"] == START
    assert START + 184 * DAY < worker["next_at"] < START + 184 * DAY + 60
    assert 0 < worker["next_records"] < 61
    assert rows["control"]["next_at"] > START + 1095 * DAY
    folder = desk.house.trail.journals / "worker-0"
    assert worker["compressed_bytes"] == sum(path.stat().st_size for path in folder.glob("*.zst")) > 0
    assert (worker["plain_bytes"], worker["entries_bytes"], told["fault"]) == (0, 0, "")


def test_what_expired_is_counted_apart(desk: Desk) -> None:
    house = desk.house
    house.retention = type(house.retention)({RetentionClass.ACCESS: 184 * DAY})
    house.keep(5)
    (worker,) = (row for row in desk.give(retention.retention, Arguments())["items"] if row["writer"] == "worker-0")
    assert (worker["records"], worker["expired"], worker["next_at"], worker["oldest_at"]) == (0, 61, None, None)


def test_a_hold_is_planned_kept_listed_and_lifted(desk: Desk) -> None:
    wanted = {"classes": ["access"], "since": START - DAY, "until": START + DAY, "case": "公開 12"}
    assert desk.add(dry_run=True, **wanted)["hit"] == 1
    assert hold_file.load(desk.house.trail.journals) == ()
    made = desk.add(**wanted)["hold"]
    assert (made["created_by"], made["reason"], made["created_at"]) == ("suzuki", "審査請求", desk.house.now)
    assert desk.give(retention.holds_ls, Listing())["items"] == [made]
    told = desk.give(retention.retention, Arguments())
    rows = {row["writer"]: row for row in told["items"]}
    assert (rows["worker-0"]["holds"], rows["control"]["holds"]) == ((made["id"],), ())
    assert rows["worker-0"]["next_at"] is None  # nothing of it comes to its end while the hold stands
    plan = desk.give(retention.holds_rm, retention.RemoveHold(hold=made["id"], reason="終結", dry_run=True))
    assert [(row["writer"], row["records"]) for row in plan["plan"]] == [("worker-0", 61)]
    assert plan["deletable"] == 61
    assert len(hold_file.load(desk.house.trail.journals)) == 1
    assert desk.give(retention.holds_rm, retention.RemoveHold(hold=made["id"], reason="終結"))["hold"] == made
    assert hold_file.load(desk.house.trail.journals) == ()


def test_what_another_hold_still_keeps_is_not_freed(desk: Desk) -> None:
    first = desk.add(writers=["worker-0"])["hold"]
    desk.add(until=START + 30)
    plan = desk.give(retention.holds_rm, retention.RemoveHold(hold=first["id"], reason="x", dry_run=True))
    assert plan["plan"] == []  # times may stand out of order by ten minutes, so the minute is held as a whole
    assert plan["hit"] == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"writers": ["worker-00"]}, AdminReason.NOT_FOUND),  # a name that nobody has would hold nothing
        ({"since": START, "until": START}, AdminReason.INVALID_ARGUMENTS),
    ],
)
def test_a_hold_that_holds_nothing_is_refused(desk: Desk, given: dict[str, Any], reason: AdminReason) -> None:
    with pytest.raises(Problem) as refused:
        desk.add(**given)
    assert refused.value.reason == reason


def test_holds_that_cannot_be_read_are_told_and_never_overwritten(desk: Desk) -> None:
    desk.add()
    path = desk.house.trail.journals / hold_file.FILE
    path.write_bytes(b"{")
    assert hold_file.FILE in desk.give(retention.retention, Arguments())["fault"]
    for handler, arguments in (
        (retention.holds_add, retention.AddHold(reason="x")),
        (retention.holds_rm, retention.RemoveHold(hold="H1", reason="x")),
        (retention.holds_ls, Listing()),
    ):
        with pytest.raises(Problem, match="読めません"):
            desk.give(handler, arguments)
    assert path.read_bytes() == b"{"


def test_lifting_is_for_the_ciso_and_both_ask_for_a_reason() -> None:
    table = {endpoint.command: endpoint for endpoint in endpoints()}
    assert table["audit.holds.add"].roles == CHANGERS
    assert table["audit.holds.rm"].roles == CISO_ONLY
    assert all(issubclass(table[f"audit.holds.{verb}"].arguments, Change) for verb in ("add", "rm"))
