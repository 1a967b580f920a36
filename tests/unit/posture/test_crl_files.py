"""Files of revocation lists as control keeps them: taken in at rest, refused with the former one in force, told of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from audit.event import check
from gateway.edge.authorities import Authority
from gateway.posture.crl import CrlFaults, most_bytes
from gateway.posture.crl_files import Wanted
from gateway.posture.crl_sync import NAMED, TOLD_EACH, RevocationLists
from gateway.state.command import StewardUnavailable
from gateway.state.serials import split
from tests.support.revocation_lists import DAY, LATER, authority, placed, revocation_list
from tests.unit.state.conftest import World

NOW = 1_800_000_000.0


class Desk:
    """One list, kept over a real store; what the steward is asked and what control records is looked at."""

    def __init__(self, folder: Path, checked: bool = True, most: int = 100_000) -> None:
        self.issuing = authority(folder / "ca", "市の認証局", NOW - DAY)
        self.file = folder / "city.crl"
        self.world = World(folder / "s.db")
        self.world.now = self.now = NOW
        self.asked: list[str] = []
        self.records: list[dict[str, Any]] = []
        self.down = False
        self.id = Authority(self.issuing.certificate).id
        wanted = [Wanted(Authority(self.issuing.certificate, checked), self.file)]
        self.lists = self.keeper(wanted, most)

    def keeper(self, wanted: list[Wanted], most: int = 100_000, forget_after: float = 1e9) -> RevocationLists:
        return RevocationLists(
            wanted, self.world.reader, self, self, lambda: self.now, most, forget_after,  # type: ignore[arg-type]
        )  # fmt: skip

    async def call(self, op: str, **args: Any) -> dict[str, Any]:
        """The steward's side."""
        if self.down:
            raise StewardUnavailable
        self.asked.append(op)
        done = self.world.run(op, **args)
        self.records += done.records
        return done.result

    async def record(self, record: dict[str, Any]) -> None:
        """The journal's side."""
        assert check(record) == []
        self.records.append(record)

    def publish(self, *serials: int, number: int, since: float = -60.0, until: float = LATER) -> None:
        crl = revocation_list(
            self.issuing.certificate, self.issuing.key, serials, number=number, this_update=NOW + since,
            next_update=NOW + until,
        )  # fmt: skip
        placed(self.file, crl)

    def look(self, times: int = 2) -> list[str]:
        """Look so often; return what was recorded of it."""
        self.records.clear()
        for _ in range(times):
            asyncio.run(self.lists.look())
        return [record["event.action"] for record in self.records]

    @property
    def state(self) -> dict[str, Any]:
        (row,) = self.lists.states()
        return row

    @property
    def revoked(self) -> set[int]:
        return {
            int.from_bytes(each, "big")
            for row in self.world.reader.revoked(self.id) for each in split(bytes.fromhex(row.serials))
        }  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.world.reader.close()
    made.world.store.close()


def test_a_file_counts_once_it_is_at_rest(desk: Desk) -> None:
    desk.publish(5, 6, number=1)
    assert desk.look(1) == []
    assert desk.revoked == set()
    assert sorted(desk.look(1)) == ["certificate.revoked", "certificate.revoked", "crl.accepted"]
    assert desk.revoked == {5, 6}
    assert desk.look(3) == []
    assert (desk.state["state"], desk.state["number"], desk.state["entries"], desk.state["left"]) == (
        "good", "1", 2, LATER,
    )  # fmt: skip


def test_only_what_changed_is_asked_of_the_steward(desk: Desk) -> None:
    desk.publish(5, 6, number=1)
    desk.look()
    desk.asked.clear()
    desk.publish(6, 7, number=2)
    told = desk.look()
    assert desk.asked == ["crl.revoke", "crl.lift", "crl.put"]  # what takes rights away goes first
    assert told == ["certificate.revoked", "certificate.reinstated", "crl.accepted"]
    assert (desk.records[-1]["sekisho.crl.added"], desk.records[-1]["sekisho.crl.lifted"]) == (1, 1)
    assert desk.revoked == {6, 7}
    desk.asked.clear()
    desk.publish(6, 7, number=3)
    assert desk.look() == ["crl.accepted"]
    assert desk.asked == ["crl.put"]


def test_the_same_list_again_is_nothing_new_for_a_control_that_begins(desk: Desk) -> None:
    desk.publish(5, number=1)
    desk.look()
    desk.lists = desk.keeper([Wanted(Authority(desk.issuing.certificate, checked=True), desk.file)])
    assert desk.look(3) == []


BAD = [
    ("junk", lambda desk: desk.file.write_bytes(b"junk"), "not a certificate revocation list"),
    ("gone", lambda desk: desk.file.unlink(), r"cannot be read \(No such file"),
    ("a folder", lambda desk: (desk.file.unlink(), desk.file.mkdir()), r"cannot be read \(Is a directory"),
    ("older", lambda desk: desk.publish(number=1), "got CRL number 1, expected one above 2"),
    ("the same number", lambda desk: desk.publish(9, number=2), "got CRL number 2, expected one above 2"),
    ("from the future", lambda desk: desk.publish(9, number=3, since=4000), "expected none in the future"),
]  # fmt: skip


@pytest.mark.promise("P1.bad-revocation-list-changes-nothing")
@pytest.mark.parametrize(("place", "fault"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_be_used_leaves_the_former_list_in_force(desk: Desk, place: Any, fault: str) -> None:
    desk.publish(5, number=2)
    desk.look()
    place(desk)
    assert desk.look(4) == ["crl.refused"]  # once
    told = desk.records[0]["error.message"] if desk.records else ""
    assert str(desk.file) in told or "CRL number" in told
    assert desk.revoked == {5}
    assert desk.state["state"] == "good"
    assert re.search(fault, desk.state["fault"])
    if desk.file.is_dir():
        desk.file.rmdir()
    desk.publish(number=3)
    assert sorted(desk.look()) == ["certificate.reinstated", "crl.accepted"]
    assert desk.state["fault"] == ""


def test_a_file_over_the_bound_is_not_even_read_whole(tmp_path: Path) -> None:
    desk = Desk(tmp_path, most=1)
    desk.file.write_bytes(bytes(most_bytes(1) + 1))
    assert desk.look(3) == ["crl.refused", "crl.stale"]
    assert "got more than" in desk.state["fault"]
    assert "listeners.public.crl_entries" in desk.state["fault"]


def test_a_list_that_is_missing_or_past_its_time_is_told_once_a_day(desk: Desk) -> None:
    assert desk.look(4) == ["crl.refused", "crl.stale"]
    assert (desk.state["state"], desk.state["when_stale"]) == ("missing", "refuse")
    desk.publish(5, number=1, until=100)
    assert "crl.stale" not in desk.look()
    desk.now = desk.world.now = NOW + 100
    assert desk.look(2) == ["crl.stale"]
    assert "nextUpdate 2027-01-15T08:01:40.000Z has passed" in desk.records[0]["error.message"]
    assert desk.state["state"] == "stale"
    desk.now += TOLD_EACH - 1
    assert desk.look() == []
    desk.now += 1
    assert desk.look() == ["crl.stale"]
    desk.publish(5, number=2, until=TOLD_EACH * 3)
    assert desk.look() == ["crl.accepted"]
    assert desk.state["state"] == "good"


def test_what_could_not_be_taken_in_is_tried_again(desk: Desk) -> None:
    desk.publish(5, number=1)
    desk.down = True
    for _ in range(3):
        with pytest.raises(StewardUnavailable):
            desk.look(2)
    desk.down = False
    assert desk.look(1) == ["certificate.revoked", "crl.accepted"]


def test_one_list_that_cannot_be_taken_in_holds_no_other_up(desk: Desk, tmp_path: Path) -> None:
    other = authority(tmp_path / "other", "県の認証局", NOW - DAY)
    desk.publish(5, number=1)
    crl = revocation_list(other.certificate, other.key, [9], this_update=NOW - 60, next_update=NOW + LATER)
    placed(tmp_path / "other.crl", crl)
    wanted = [
        Wanted(Authority(desk.issuing.certificate, checked=True), desk.file),
        Wanted(Authority(other.certificate, checked=True), tmp_path / "other.crl"),
    ]
    desk.lists, whole = desk.keeper(wanted), desk.call

    async def fails(op: str, **args: Any) -> dict[str, Any]:
        if args["list"]["authority"] == "市の認証局":
            raise StewardUnavailable
        return await whole(op, **args)

    desk.call = fails  # type: ignore[method-assign]
    with pytest.raises(StewardUnavailable):
        desk.look()
    assert [row["state"] for row in desk.lists.states()] == ["missing", "good"]


def test_a_half_taken_list_is_taken_up_again(desk: Desk) -> None:
    desk.publish(5, 6, number=1)
    desk.look()
    desk.publish(7, number=2)
    asked, whole = [], desk.call

    async def dies(op: str, **args: Any) -> dict[str, Any]:
        asked.append(op)
        if op == "crl.lift":
            raise StewardUnavailable
        return await whole(op, **args)

    desk.call = dies  # type: ignore[method-assign]
    with pytest.raises(StewardUnavailable):
        desk.look()
    assert (asked, desk.revoked) == (["crl.revoke", "crl.lift"], {5, 6, 7})
    desk.call = whole  # type: ignore[method-assign]
    desk.look()
    assert (desk.revoked, desk.state["number"]) == ({7}, "2")


def test_a_large_first_list_goes_in_parts_and_is_told_by_its_number(desk: Desk) -> None:
    serials = range(1, NAMED + 2)
    desk.publish(*serials, number=1)
    assert desk.look() == ["crl.accepted"]
    assert desk.records[0]["sekisho.crl.added"] == NAMED + 1
    assert desk.revoked == set(serials)
    assert desk.asked.count("crl.revoke") > 1


@pytest.mark.promise("P1.revocation-list-begins-anew-by-a-person")
def test_bug_an_authority_whose_numbers_began_anew_needs_no_moment_without_its_list(desk: Desk) -> None:
    """Its list had to be taken out of the settings and put back: in between, what it revoked was not revoked."""
    desk.publish(5, 6, number=7)
    desk.look()
    desk.publish(5, 8, number=1, since=-30)
    assert desk.look() == ["crl.refused"]
    plan = asyncio.run(desk.lists.plan(desk.id))
    assert plan is not None
    assert (plan["number"], plan["former_number"], plan["added"], plan["lifted"]) == ("1", "7", 1, 1)
    assert "expected one above 7" in str(plan["fault"])
    assert not asyncio.run(desk.lists.accept(desk.id, "0" * 64, "ciso", "復旧"))
    desk.records.clear()
    revoked: list[set[int]] = []
    call = desk.call

    async def looked_at(op: str, **args: Any) -> dict[str, Any]:
        result = await call(op, **args)
        revoked.append(desk.revoked)
        return result

    desk.call = looked_at  # type: ignore[method-assign]
    assert asyncio.run(desk.lists.accept(desk.id, str(plan["digest"]), "ciso", "認証局の復旧"))

    assert revoked == [{5, 6}, {5, 6, 8}, {5, 8}, {5, 8}]
    first, *_, last = desk.records
    assert (first["event.action"], last["event.action"]) == ("crl.renumbered", "crl.accepted")
    assert (first["sekisho.by"], first["sekisho.justification"]) == ("ciso", "認証局の復旧")
    assert (first["sekisho.crl.number"], last["sekisho.crl.number"]) == ("7", "1")
    assert all(check(each) == [] for each in desk.records)
    assert (desk.state["state"], desk.state["number"], desk.state["fault"]) == ("good", "1", "")
    assert desk.look(3) == []
    desk.publish(9, number=1, since=-20)
    assert desk.look() == ["crl.refused"]
    desk.publish(9, number=2, since=-31)
    assert desk.look() == ["crl.refused"]
    desk.publish(5, number=2, since=-10)
    assert desk.look()[-1] == "crl.accepted"
    assert asyncio.run(desk.lists.plan(desk.id)) is None


def test_a_list_that_begins_anew_and_was_interrupted_goes_on_and_opens_no_way_back(desk: Desk) -> None:
    desk.publish(5, 6, number=7)
    desk.look()
    desk.publish(5, number=1, since=-30)
    desk.look()
    plan = asyncio.run(desk.lists.plan(desk.id))
    assert plan is not None
    call = desk.call

    async def once(op: str, **args: Any) -> dict[str, Any]:
        desk.down = op != "crl.renumber"
        return await call(op, **args)

    desk.call = once  # type: ignore[method-assign]
    with pytest.raises(StewardUnavailable):
        asyncio.run(desk.lists.accept(desk.id, str(plan["digest"]), "ciso", "復旧"))
    desk.call, desk.down = call, False  # type: ignore[method-assign]
    assert desk.revoked == {5, 6}
    accepted = desk.file.read_bytes()
    desk.publish(number=6, since=-45)  # an old one of before
    assert desk.look() == ["crl.refused"]
    assert desk.revoked == {5, 6}
    desk.file.write_bytes(accepted)
    assert desk.look() == ["certificate.reinstated", "crl.accepted"]


@pytest.mark.parametrize("what", ["junk", "newer", "the same"])
def test_only_an_older_list_is_for_a_person_to_accept(desk: Desk, what: str) -> None:
    desk.publish(5, number=7)
    desk.look()
    if what == "junk":
        desk.file.write_bytes(b"junk")
        with pytest.raises(CrlFaults, match="not a certificate revocation list"):
            asyncio.run(desk.lists.plan(desk.id))
        return
    if what == "newer":
        desk.publish(5, number=8)
    assert asyncio.run(desk.lists.plan(desk.id)) is None


def test_a_list_that_nobody_names_any_more_is_forgotten(desk: Desk) -> None:
    desk.publish(5, number=1)
    desk.look()
    keeper = desk.keeper([], forget_after=0.0)
    (row,) = keeper.states()
    assert (row["state"], row["authority"]) == ("not_configured", "市の認証局")

    async def until_forgotten() -> None:
        running = asyncio.create_task(keeper.run())
        async with asyncio.timeout(30):
            while keeper.states():  # noqa: ASYNC110  # a store has no event for readers
                await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(until_forgotten())
    assert desk.revoked == set()
    assert desk.records[-1]["event.action"] == "crl.dropped"


def test_pem_and_der_of_one_list_are_the_same_list(desk: Desk) -> None:
    crl = revocation_list(
        desk.issuing.certificate, desk.issuing.key, [5], number=1, this_update=NOW - 60, next_update=NOW + LATER
    )  # fmt: skip
    placed(desk.file, crl, Encoding.PEM)
    desk.look()
    placed(desk.file, crl, Encoding.DER)
    assert desk.look() == []
