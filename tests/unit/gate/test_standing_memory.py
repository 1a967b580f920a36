"""What the gate remembers of a session only saves work: each change of a record, place or moment is seen at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.gate.standing import Memo
from gateway.gate.verdict import Forward
from gateway.state.changes import Change
from policies.compile import compile_policy
from tests.support.gate_world import (
    APP,
    APP_SESSION,
    CERTIFICATE,
    DEVICE,
    NOW,
    PEER,
    RULES,
    SESSION,
    TOKEN,
    USER,
    World,
    head,
    policy,
    told,
)

OTHER = replace(CERTIFICATE, uuid="5f1c7c1e-0000-4000-8000-000000000002", serial="0def")
CHANGES: list[Callable[[World], Any]] = [
    lambda world: world.put("user", USER.id, replace(USER, name="x", groups=("shokuin",))),
    lambda world: world.put("user", USER.id, replace(USER, disabled=True)),
    lambda world: world.put("session", SESSION.id, replace(SESSION, mfa_at=NOW - 50_000)),
    lambda world: world.put("session", SESSION.id, replace(SESSION, device_id="d2")),
    lambda world: world.put("session", SESSION.id, replace(SESSION, user_agent="x", acr="other")),
    lambda world: world.put("device", DEVICE.id, replace(DEVICE, compliant=False)),
    lambda world: world.put("device", DEVICE.id, replace(DEVICE, read_at=NOW - 1e5)),
    lambda world: world.put("device", DEVICE.id, replace(DEVICE, owner="suzuki")),
    lambda world: world.put("app", APP.id, replace(APP, sensitivity="3A", presets=("jwt", "remote-user"))),
    lambda world: world.put("app", APP.id, replace(APP, methods=("POST",))),
    lambda world: world.put("app", APP.id, replace(APP, hosts=("moved.example",))),
    lambda world: world.put("app_session", APP_SESSION.token_hash, replace(APP_SESSION, id="a2")),
    lambda world: world.put("app_session", APP_SESSION.token_hash, replace(APP_SESSION, app_id="pay")),
    lambda world: world.put("app_session", APP_SESSION.token_hash, replace(APP_SESSION, host="pay.example")),
    lambda world: world.lock("group", "soumu"),
    lambda world: world.lock("app", "docs"),
    lambda world: world.view.set_policy(compile_policy(policy(RULES[1], RULES[0])), Change(9)),
    lambda world: world.view.set_policy(compile_policy(policy()), Change(9)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_first_world_and_the_used_one_say_the_same(change: Callable[[World], Any]) -> None:
    used, fresh = World(), World()
    before = [used.judge(head()) for _ in range(3)]
    assert all(told(verdict) == told(before[0]) for verdict in before)
    change(used)
    change(fresh)
    for _ in range(2):
        assert told(used.judge(head())) == told(fresh.judge(head()))


PLACES = [
    {"request": {"peer": replace(PEER, address="203.0.113.9")}},
    {"request": {"peer": replace(PEER, listener="behind")}},
    {"request": {"peer": replace(PEER, address="10.9.9.9")}},
    {"request": {"peer": replace(PEER, certificate=None)}},
    {"request": {"peer": replace(PEER, certificate=OTHER)}},
    {"request": {"peer": replace(PEER, certificate=replace(CERTIFICATE))}},
    {"request": {"peer": replace(PEER, certificate=replace(CERTIFICATE, serial="bad1"))}},
    {"request": {"path": "/other", "query": "q"}},
    {"request": {"method": "POST", "Origin": "https://evil.example"}},
    {"wall": NOW + 1},
    {"wall": NOW + 0.9},
    {"wall": NOW + 50_000},
]


@pytest.mark.parametrize("place", PLACES)
def test_another_place_or_moment_is_judged_as_if_nobody_had_been_there(place: dict[str, Any]) -> None:
    used, fresh = World(), World()
    assert isinstance(used.judge(head()), Forward)
    request, wall = head(**place.get("request", {})), place.get("wall", NOW)
    assert told(used.judge(request, wall=wall)) == told(fresh.judge(request, wall=wall))
    assert told(used.judge(head())) == told(fresh.judge(head()))


@pytest.mark.parametrize("limit", ["session", "contract", "certificate"])
def test_it_ends_with_whatever_ends_first(limit: str) -> None:
    world, certificate = World(), replace(CERTIFICATE, not_after=NOW + (10 if limit == "certificate" else 99))
    world.put("session", SESSION.id, replace(SESSION, expires_at=NOW + (10 if limit == "session" else 99)))
    world.put("user", USER.id, replace(USER, contract_end=NOW + (10 if limit == "contract" else 99)))
    request = head(peer=replace(PEER, certificate=certificate))
    assert isinstance(world.judge(request), Forward)
    assert isinstance(world.judge(request, wall=NOW + 9.9), Forward)
    assert not isinstance(world.judge(request, wall=NOW + 10), Forward)


@pytest.mark.parametrize("seen", [False, True])
def test_a_serial_revoked_on_another_device_counts_for_a_known_session(seen: bool) -> None:
    world = World()
    if seen:
        assert isinstance(world.judge(head()), Forward)
    other = replace(DEVICE, id="d2", uuid=OTHER.uuid, revoked_serials=(CERTIFICATE.serial,))
    world.put("device", "d2", other)
    verdict = world.judge(head())
    assert verdict.record["sekisho.reason"] == "device_certificate_revoked"  # type: ignore[union-attr]


def test_what_is_known_of_a_session_is_worked_out_once() -> None:
    world = World()
    verdicts = [world.judge(head()) for _ in range(2)]
    assert all(isinstance(verdict, Forward) for verdict in verdicts)
    assert verdicts[0].claims is verdicts[1].claims  # type: ignore[union-attr]
    assert verdicts[0].shared is verdicts[1].shared  # type: ignore[union-attr]
    later = world.judge(head(), wall=NOW + 1)
    assert isinstance(later, Forward)
    assert later.claims is verdicts[0].claims  # type: ignore[union-attr]
    assert later.shared is not verdicts[0].shared  # type: ignore[union-attr]


def test_zones_belong_to_their_policy_and_memory_is_bounded() -> None:
    memo = Memo(capacity=2)
    office, nowhere = compile_policy(policy()), compile_policy(replace(policy(), zones=()))
    assert [memo.zone(office, "10.0.0.1"), memo.zone(nowhere, "10.0.0.1")] == ["office", "internet"]
    assert [memo.zone(office, f"10.0.0.{at}") for at in range(5)] == ["office"] * 5
    assert memo.zone(office, "192.0.2.1") == "internet"
    standings = []
    for at in range(5):
        digest = bytes([at]) * 32
        session = replace(SESSION, id=f"s{at}")
        standing = memo.standing(digest, replace(APP_SESSION, id=f"a{at}"), session, USER, DEVICE, APP, "0abc")
        memo.show(b"c%d" % at, standing)
        standings.append(standing)
        assert (len(memo.standings), len(memo.shown)) == (at % 2 + 1, at % 2 + 1)
        assert standing.session is session
    memo.show(b"x" * 1024, standings[0])
    assert b"x" * 1024 in memo.shown
    memo.show(b"x" * 1025, standings[0])
    assert b"x" * 1025 not in memo.shown


def test_a_long_cookie_header_is_read_each_time() -> None:
    world = World()
    request = head(cookie=f"__Host-sekisho-app={TOKEN}; pad={'x' * 2000}")
    for _ in range(2):
        assert isinstance(world.judge(request), Forward)
    assert world.terms.memo.shown == {}
