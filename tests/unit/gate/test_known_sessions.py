"""A session that was found in order is asked less about, but never believed longer than its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest

from audit.event import whole
from gateway.gate.verdict import Forward
from gateway.state.changes import Change
from tests.support.gate_world import (
    APP_SESSION,
    DEVICE,
    HOST,
    NOW,
    PAYMENTS,
    PEER,
    SESSION,
    USER,
    World,
    head,
    record_bytes,
)


def ended(world: World) -> None:
    world.view.apply([("session", SESSION.id, None)], Change(2))


def signed_out_of_the_app(world: World) -> None:
    world.view.apply([("app_session", APP_SESSION.token_hash, None)], Change(2))


def disabled(world: World) -> None:
    world.put("user", USER.id, replace(USER, disabled=True))


def runs_out(world: World) -> None:
    world.put("session", SESSION.id, replace(SESSION, expires_at=NOW))


def contract_over(world: World) -> None:
    world.put("user", USER.id, replace(USER, contract_end=NOW))


def serial_revoked(world: World) -> None:
    assert PEER.certificate is not None
    other = replace(
        DEVICE, id="d2", uuid="5f1c7c1e-0000-4000-8000-000000000002", revoked_serials=(PEER.certificate.serial,)
    )
    world.put("device", other.id, other)


def device_gone(world: World) -> None:
    world.view.apply([("device", DEVICE.id, None)], Change(2))


def device_locked(world: World) -> None:
    world.lock("device", DEVICE.id)


CHANGES = [
    ended, signed_out_of_the_app, disabled, runs_out, contract_over, serial_revoked, device_gone, device_locked,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_request_after_a_change_is_judged_as_if_it_were_the_first(change: Callable[[World], None]) -> None:
    known, fresh = World(), World()
    assert isinstance(known.judge(head()), Forward)
    assert isinstance(known.judge(head()), Forward)
    change(known)
    change(fresh)
    after = known.judge(head())
    assert not isinstance(after, Forward)
    assert after == fresh.judge(head())


def test_time_alone_ends_it() -> None:
    world = World()
    assert isinstance(world.judge(head()), Forward)
    assert not isinstance(world.judge(head(), wall=SESSION.expires_at), Forward)
    assert PEER.certificate is not None
    assert not isinstance(world.judge(head(), wall=PEER.certificate.not_after), Forward)


def test_its_cookie_is_worth_nothing_elsewhere() -> None:
    world = World()
    assert isinstance(world.judge(head()), Forward)
    assert not isinstance(world.judge(head(host=PAYMENTS.hosts[0])), Forward)
    assert not isinstance(world.judge(head(peer=replace(PEER, server_name=HOST, certificate=None))), Forward)


def test_the_bytes_of_the_record_are_the_record() -> None:
    world = World()
    for request in (head(), head(query="a=1", path="/多い", user_agent='x"y'), head(method="POST")):
        verdict = world.judge(request)
        assert isinstance(verdict, Forward)
        assert whole(orjson.loads(record_bytes(verdict))) == orjson.loads(orjson.dumps(verdict.record))
