"""What was just judged saves work for the next request, and changes no answer."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gateway.gate.request import ClientCertificate, RequestHead
from gateway.gate.verdict import Forward, Refuse
from tests.support.gate_world import CERTIFICATE, HOST, MONO, NOW, PAYMENTS, PEER, SESSION, World, head, record_bytes

SECOND = float(int(NOW))
STRANGER = replace(PEER, address="203.0.113.9")
BARE = replace(PEER, certificate=None)
OTHER_LISTENER = replace(PEER, listener="help")


def warm() -> World:
    """A world in which two requests of this second were allowed, so that a passage stands."""
    world = World()
    for _ in range(3):
        assert isinstance(world.judge(head(), wall=SECOND), Forward)
    return world


def asked(rng: random.Random) -> RequestHead:
    """A request that may differ from the one that was allowed in anything."""
    return head(
        method=rng.choice(["GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE"]),
        path=rng.choice(
            ["/", "/list", "/approve", "/approve/1", "/.sekisho", "/.sekisho/out", "/.sekishox", "/people/1"]
        ),
        query=rng.choice([None, "page=1"]),
        host=rng.choice([HOST, HOST, HOST, PAYMENTS.hosts[0]]),
        peer=rng.choice([PEER, PEER, PEER, STRANGER, BARE, OTHER_LISTENER]),
    )


@pytest.mark.parametrize("seed", range(30))
def test_a_warm_gate_judges_as_a_cold_one(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # a reproducible order, not a secret
    world = warm()
    for _ in range(20):
        request = asked(rng)
        wall = SECOND + rng.choice([0.0, 0.4, 0.999, 1.0, 3.0])
        mono = MONO + rng.choice([0.0, 1.0, 5.0, 5.1])
        verdict = world.judge(request, wall=wall, mono=mono)
        fresh = World().judge(request, wall=wall, mono=mono)
        assert type(verdict) is type(fresh)
        assert verdict.record == fresh.record  # type: ignore[union-attr]  # no token here is unknown
        if isinstance(verdict, Forward):
            assert record_bytes(verdict) == record_bytes(fresh)  # type: ignore[arg-type]  # the same type, see above


@pytest.mark.parametrize("limit", ["session", "certificate"])
def test_it_ends_within_its_second_when_a_record_does(limit: str) -> None:
    world = World()
    certificate: ClientCertificate = CERTIFICATE
    if limit == "session":
        world.put("session", SESSION.id, replace(SESSION, expires_at=SECOND + 0.5))
    else:
        certificate = replace(CERTIFICATE, not_after=SECOND + 0.5)
    request = head(peer=replace(PEER, certificate=certificate))
    for _ in range(3):
        assert isinstance(world.judge(request, wall=SECOND + 0.4), Forward)
    assert not isinstance(world.judge(request, wall=SECOND + 0.5), Forward)


def test_a_rule_on_paths_is_asked_each_time() -> None:
    world = World()
    world.put("session", SESSION.id, replace(SESSION, mfa_at=SECOND - 3000, created_at=SECOND - 3000))
    for _ in range(3):
        assert isinstance(world.judge(head(), wall=SECOND), Forward)
    refused = world.judge(head(path="/approve/1"), wall=SECOND)
    assert not isinstance(refused, Forward)
    assert isinstance(world.judge(head(path="/approved"), wall=SECOND), Forward)


def test_a_connection_of_another_place_is_judged_for_itself() -> None:
    world = warm()
    for _ in range(3):
        assert isinstance(world.judge(head(peer=STRANGER), wall=SECOND), Refuse)
        assert isinstance(world.judge(head(), wall=SECOND), Forward)
