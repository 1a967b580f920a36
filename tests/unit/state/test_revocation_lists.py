"""Revocation lists in the store and in the view: what a list says counts, by issuer, and only forwards."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.event import check
from gateway.state.changes import Change
from gateway.state.command import CommandRefused
from gateway.state.loading import load_tables
from gateway.state.ops_crl import MOST
from gateway.state.records import Device, RevocationList
from gateway.state.serials import BUCKETS, SERIAL_BYTES, bucket_of, holds, joined, packed, spelled, split
from gateway.state.tables import to_wire
from gateway.state.view import View
from tests.unit.state.conftest import NOW, World

CITY, OTHER = "c" * 64, "d" * 64
LIST = RevocationList(CITY, "市の認証局", "7", NOW - 60, NOW + 3600, 2, "1" * 64, 0.0)
NUMBERS = st.integers(1, 2 ** (8 * SERIAL_BYTES) - 1)


def view_of(world: World) -> View:
    """The view of a worker that followed from the start; a later one's, from the snapshot, has to be the same."""
    followed, fresh = View(), View()
    for change in world.told:
        followed.apply([to_wire(change)], Change(1))
    with world.store.transaction("look", NOW) as tx:
        tables = load_tables(tx, 1, NOW)
    for change in tables.snapshot():
        fresh.apply([to_wire(change)], Change(1))
    assert followed.revoked_buckets == fresh.revoked_buckets
    assert followed.revocation_lists == fresh.revocation_lists
    return followed


def take(world: World, listed: RevocationList, added: list[str], lifted: list[str] | None = None, **more: Any) -> Any:
    row, named = listed.to_row(), more.get("named", True)
    done = world.run("crl.revoke", list=row, serials=added, named=named)
    world.run("crl.lift", list=row, serials=lifted or [], named=named)
    world.run("crl.put", list=row, added=len(added), lifted=len(lifted or []))
    return done


@given(st.sets(NUMBERS, max_size=60), NUMBERS)
def test_a_bucket_holds_what_was_put_in_and_nothing_else(numbers: set[int], other: int) -> None:
    serials = {number.to_bytes(SERIAL_BYTES, "big") for number in numbers}
    bucket = joined(serials)
    assert set(split(bucket)) == serials
    assert all(holds(bucket, each) for each in serials)
    assert holds(bucket, other.to_bytes(SERIAL_BYTES, "big")) is (other in numbers)


@given(NUMBERS)
def test_a_number_has_one_spelling(number: int) -> None:
    assert packed(f"{number:x}") == number.to_bytes(SERIAL_BYTES, "big")
    assert spelled(packed(f"{number:x}")) == f"{number:x}"


@pytest.mark.promise("P3.certificate-revocation-list-counts")
def test_what_a_list_names_is_revoked_and_counts_again_once_it_does_not(world: World) -> None:
    take(world, LIST, ["ab12", "1"])
    view = view_of(world)
    assert view.is_revoked(CITY, "ab12")
    assert view.is_revoked(CITY, "1")
    assert not view.is_revoked(CITY, "ab13")

    take(world, replace(LIST, number="8", digest="2" * 64), ["5"], ["ab12"])
    view = view_of(world)
    assert [view.is_revoked(CITY, each) for each in ("ab12", "1", "5")] == [False, True, True]
    assert view.revocation_lists[CITY].number == "8"


@pytest.mark.promise("P3.serials-belong-to-their-issuer")
def test_a_number_of_one_authority_is_not_the_same_number_of_another(world: World) -> None:
    """Regression: serial numbers were compared without their issuer, with which alone they are unique (RFC 5280)."""
    device = Device(
        "graph:u", "u", "PC1", "graph", "s0001", "Windows", "10", True, True, False, True, False, (), None, NOW, NOW, ()
    )
    world.run("devices.put", devices=[device.to_row()])
    take(world, LIST, ["ab12"])
    done = world.run("certificate.revoke", id="graph:u", serial="77", authority=OTHER, by="ciso", reason="紛失")
    world.run("certificate.revoke", id="graph:u", serial="99", by="ciso", reason="紛失")
    world.run("devices.put", devices=[replace(device, read_at=NOW + 60).to_row()])

    view = view_of(world)

    assert (view.is_revoked(CITY, "ab12"), view.is_revoked(OTHER, "ab12"), view.is_revoked("", "ab12")) == (
        True, False, False,
    )  # fmt: skip
    assert (view.is_revoked(CITY, "77"), view.is_revoked(OTHER, "77")) == (False, True)
    assert (view.is_revoked(CITY, "99"), view.is_revoked(OTHER, "99"), view.is_revoked("", "99")) == (True, True, True)
    assert done.records[0]["sekisho.crl.authority_id"] == OTHER
    assert check(done.records[0]) == []


@given(st.lists(st.tuples(st.sampled_from([CITY, OTHER]), st.sets(st.integers(1, 12), max_size=8)), max_size=8))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_lists_follow_each_other_the_last_of_each_authority_counts(
    world: World, lists: list[tuple[str, set[int]]]
) -> None:
    for authority in (CITY, OTHER):  # the store is that of the example before
        world.run("crl.drop", id=authority)
    world.told.clear()
    says: dict[str, set[int]] = {CITY: set(), OTHER: set()}
    for number, (authority, wanted) in enumerate(lists, start=1):
        listed = replace(LIST, id=authority, number=str(number), digest=f"{number:064x}")
        new, gone = wanted - says[authority], says[authority] - wanted
        take(world, listed, [f"{each:x}" for each in new], [f"{each:x}" for each in gone])
        says[authority] = wanted
    view = view_of(world)
    for authority, wanted in says.items():
        assert {each for each in range(1, 13) if view.is_revoked(authority, f"{each:x}")} == wanted
    assert all(view.revoked_buckets.values())  # none is kept empty


def test_each_named_change_is_on_record_and_on_the_receipt(world: World) -> None:
    row = LIST.to_row()
    revoked = world.run("crl.revoke", list=row, serials=["ab12", "1"], named=True)
    again = world.run("crl.revoke", list=row, serials=["ab12"], named=True)
    lifted = world.run("crl.lift", list=row, serials=["1", "5"], named=True)
    put = world.run("crl.put", list=row, added=2, lifted=1)

    assert revoked.draft is not None
    assert (revoked.draft.kind, revoked.draft.who) == ("certificate.revoke", "crl")
    assert revoked.draft.why == "市の認証局: CRL 7"
    assert sorted(revoked.draft.targets) == [f"authority:{CITY}", "certificate:1", "certificate:ab12"]
    assert (again.draft, again.records, again.result) == (None, [], {"changed": 0})
    records = [*revoked.records, *lifted.records, *put.records]
    assert sorted((each["event.action"], each.get("sekisho.certificate.serial", "")) for each in records) == [
        ("certificate.reinstated", "1"), ("certificate.revoked", "1"), ("certificate.revoked", "ab12"),
        ("crl.accepted", ""),
    ]  # fmt: skip
    assert all(check(each) == [] for each in records)
    assert put.records[0]["sekisho.crl.number"] == "7"
    assert world.reader.revocation_lists() == [replace(LIST, read_at=NOW)]


def test_many_changes_are_told_by_their_number(world: World) -> None:
    serials = [f"{each:x}" for each in range(1, MOST + 1)]
    done = take(world, LIST, serials, named=False)
    assert done.draft is not None
    assert done.draft.targets == (f"authority:{CITY}", f"certificates:{MOST}")
    assert done.records == []
    view = view_of(world)
    assert all(view.is_revoked(CITY, each) for each in serials)


OLDER = [
    (replace(LIST, number="6", digest="2" * 64), "got CRL number 6, expected one above 7"),
    (replace(LIST, digest="2" * 64), "got CRL number 7, expected one above 7"),
    (replace(LIST, number="", digest="2" * 64), "got no CRL number"),
    (replace(LIST, number="8", this_update=NOW - 61, digest="2" * 64), "expected none before"),
]


@pytest.mark.parametrize(("listed", "fault"), OLDER)
@pytest.mark.parametrize("step", ["crl.revoke", "crl.lift", "crl.put"])
def test_no_list_goes_back(world: World, listed: RevocationList, fault: str, step: str) -> None:
    take(world, LIST, ["ab12"])
    more: dict[str, Any] = (
        {"added": 0, "lifted": 1} if step == "crl.put" else {"serials": ["ab12"], "named": True}
    )  # fmt: skip
    with pytest.raises(CommandRefused, match=fault):
        world.run(step, list=listed.to_row(), **more)
    assert view_of(world).is_revoked(CITY, "ab12")


def test_lists_without_numbers_go_by_their_time(world: World) -> None:
    take(world, replace(LIST, number=""), ["1"])
    take(world, replace(LIST, number="", this_update=NOW, digest="2" * 64), ["2"])
    with pytest.raises(CommandRefused, match="thisUpdate"):
        take(world, replace(LIST, number="", digest="3" * 64), ["3"])
    take(world, replace(LIST, number=str(2**159), this_update=NOW, digest="4" * 64), ["4"])
    assert view_of(world).revocation_lists[CITY].number == str(2**159)


@pytest.mark.parametrize("serials", [["0"], ["0a"], ["AB"], ["a" * 41], [""], ["1"] * (MOST + 1)])
def test_what_is_no_number_is_refused(world: World, serials: list[str]) -> None:
    with pytest.raises(CommandRefused, match="serials: expected at most"):
        world.run("crl.revoke", list=LIST.to_row(), serials=serials, named=True)


def test_a_dropped_list_leaves_nothing_behind(world: World) -> None:
    take(world, LIST, ["1", "2"])
    take(world, replace(LIST, id=OTHER, authority="県"), ["1"])
    done = world.run("crl.drop", id=CITY)
    view = view_of(world)
    assert [each["event.action"] for each in done.records] == ["crl.dropped"]
    assert check(done.records[0]) == []
    assert (view.is_revoked(CITY, "1"), view.is_revoked(OTHER, "1")) == (False, True)
    assert list(view.revocation_lists) == [OTHER]
    assert world.run("crl.drop", id=CITY).records == []


def test_many_numbers_take_little_memory() -> None:
    """What `docs/tls.md` says of a million holds for each number: 20 octets, and a part of a bucket's own cost."""
    buckets: dict[str, list[bytes]] = {}
    for number in range(1, 100_001):
        serial = (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**159).to_bytes(SERIAL_BYTES, "big")
        buckets.setdefault(bucket_of(CITY, serial), []).append(serial)
    view = View()
    rows = [("revoked", name, {"serials": joined(each).hex()}) for name, each in buckets.items()]
    view.apply(rows, Change(1))
    size = sum(sys.getsizeof(name) + sys.getsizeof(each) for name, each in view.revoked_buckets.items())
    assert max(map(len, buckets.values())) < 100
    assert size + sys.getsizeof(view.revoked_buckets) < 100_000 * SERIAL_BYTES + BUCKETS * 300


def test_a_change_names_the_buckets_it_touched(world: World) -> None:
    take(world, LIST, ["ab12"])
    view, change = View(), Change(1)
    for told in world.told:
        view.apply([to_wire(told)], change)
    assert change.revoked == {bucket_of(CITY, packed("ab12"))}
    assert change.narrows
