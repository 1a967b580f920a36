"""What a revocation list says of a certificate decides each request, whether the session was seen before or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from audit.event import check
from gateway.gate.request import ClientCertificate
from gateway.gate.verdict import Forward
from gateway.state.records import RevocationList, RevokedSerials
from gateway.state.serials import bucket_of, joined, packed
from tests.support.gate_world import CERTIFICATE, NOW, PEER, World, head

CITY, OTHER = "c" * 64, "d" * 64
SHOWN = replace(CERTIFICATE, serial="ab12", authority=CITY, checked=True)
LIST = RevocationList(CITY, "市", "7", NOW - 60, NOW + 100, 0, "1" * 64, NOW)


def listed(world: World, until: float = NOW + 100, authority: str = CITY) -> None:
    world.put("crl", authority, replace(LIST, id=authority, next_update=until))


def revoke(world: World, serial: str, authority: str = CITY) -> None:
    number = packed(serial)
    name = bucket_of(authority, number)
    world.put("revoked", name, RevokedSerials(name, authority, joined([number]).hex()))


def judged(world: World, certificate: ClientCertificate, wall: float = NOW) -> str:
    verdict = world.judge(head(peer=replace(PEER, certificate=certificate)), wall=wall)
    if isinstance(verdict, Forward):
        return "forward"
    assert check(verdict.record) == []  # type: ignore[union-attr]
    return str(verdict.record["sekisho.reason"])  # type: ignore[union-attr]


REVOKED, UNCHECKED = "device_certificate_revoked", "device_certificate_unchecked"
CASES: list[tuple[str, ClientCertificate, dict[str, Any], str]] = [
    ("a good list that has it not", SHOWN, {"until": NOW + 100}, "forward"),
    ("a good list that has it", SHOWN, {"until": NOW + 100, "revoked": "ab12"}, REVOKED),
    ("the same number of another authority", SHOWN, {"until": NOW + 100, "revoked": "ab12", "by": OTHER}, "forward"),
    ("a list past its time", SHOWN, {"until": NOW}, UNCHECKED),
    ("a list past its time that has it", SHOWN, {"until": NOW, "revoked": "ab12"}, REVOKED),
    ("no list", SHOWN, {}, UNCHECKED),
    ("no list yet, its numbers are coming", SHOWN, {"revoked": "ab12"}, REVOKED),
    ("a list past its time, to be gone on with", replace(SHOWN, checked=False), {"until": NOW}, "forward"),
    ("the same, and it has it", replace(SHOWN, checked=False), {"until": NOW, "revoked": "ab12"}, REVOKED),
    ("no list asked for", replace(SHOWN, checked=False), {}, "forward"),
    ("an authority nobody named", replace(SHOWN, authority=""), {"until": NOW + 100}, UNCHECKED),
]


@pytest.mark.promise("P1.unchecked-certificate-refused")
@pytest.mark.parametrize(("certificate", "state", "expected"), [row[1:] for row in CASES], ids=[c[0] for c in CASES])
@pytest.mark.parametrize("seen", [False, True], ids=["first request", "known session"])
def test_verdict(certificate: ClientCertificate, state: dict[str, Any], expected: str, seen: bool) -> None:
    world = World()
    if seen:
        listed(world)
        assert judged(world, replace(certificate, authority=CITY)) == "forward"
        world.put("crl", CITY, None)
    if "until" in state:
        listed(world, state["until"])
    if "revoked" in state:
        revoke(world, state["revoked"], state.get("by", CITY))
    assert judged(world, certificate) == expected


def test_a_hold_that_ends_lets_the_certificate_count_again() -> None:
    world = World()
    listed(world)
    assert judged(world, SHOWN) == "forward"
    revoke(world, "ab12")
    assert judged(world, SHOWN) == REVOKED
    world.put("revoked", bucket_of(CITY, packed("ab12")), None)
    assert judged(world, SHOWN) == "forward"


@pytest.mark.parametrize("checked", [True, False])
def test_a_known_session_is_looked_at_again_when_its_list_runs_out(checked: bool) -> None:
    world, certificate = World(), replace(SHOWN, checked=checked)
    listed(world, NOW + 10)
    for wall in (NOW, NOW + 1, NOW + 9.9):
        assert judged(world, certificate, wall) == "forward"
    assert judged(world, certificate, NOW + 10) == (UNCHECKED if checked else "forward")


def test_a_list_that_comes_late_ends_the_want() -> None:
    world = World()
    listed(world, NOW + 1)
    assert judged(world, SHOWN, NOW + 2) == UNCHECKED
    listed(world, NOW + 50)
    assert judged(world, SHOWN, NOW + 2) == "forward"


def test_bug_a_newer_list_that_ran_out_sooner_counted_until_the_end_of_the_one_before() -> None:
    world = World()
    listed(world, NOW + 100)
    assert judged(world, SHOWN) == "forward"
    listed(world, NOW + 10)
    for wall in (NOW + 1, NOW + 2, NOW + 9.9):
        assert judged(world, SHOWN, wall) == "forward"
    assert judged(world, SHOWN, NOW + 50) == UNCHECKED
