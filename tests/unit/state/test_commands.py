"""Every command as a table: what it changes, what it tells the workers, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from audit.event import check
from gateway.state.command import CommandRefused
from gateway.state.commands import COMMANDS
from gateway.state.records import App, Approval, AppSession, Device, Lock, PolicyVersion
from tests.support.gate_world import condition, policy, rule
from tests.support.steward_process import session, token_hash, user
from tests.unit.state.conftest import NOW, World

APP = App(
    "tax", "税務", "owner", "内線 2", ("tax.sekisho.localhost",), "http://127.0.0.1:9", "", "3B", "税務",
    "staff", ("jwt",), "X-Sekisho-Jwt-Assertion", ("GET", "POST"), "preserve", "synced",
    "navigation", (), "/", (), "active", "owner", "ciso",
)  # fmt: skip
IR = policy().to_wire()
LOCK = Lock("l1", "user", "u1", "窓口へ", "調査", "ciso", NOW, NOW + 60)
DEVICE = Device(
    "d1", "uuid-1", "PC1", "graph", "s0001", "windows", "10.0", True, True, False, True, None, (), None, NOW, NOW, ()
)


@pytest.fixture
def city(world: World) -> World:
    world.run("user.put", user=user(1).to_row())
    world.run("user.put", user=user(2).to_row())
    world.run("app.put", app=APP.to_row())
    world.run("session.start", session=begun("a").to_row())
    world.told.clear()
    return world


def begun(name: str, user_id: str = "u1", **changes: Any) -> Any:
    return session(name, user_id, **({"expires_at": NOW + 99_999.0, "idle_limit": 9_999.0} | changes))


def handoff(**changes: Any) -> dict[str, Any]:
    values = {
        "code_hash": token_hash("code"), "session_id": "a", "app_id": "tax", "host": "tax.sekisho.localhost",
        "state_hash": "state", "return_to": "/x", "expires_at": NOW + 999,
    }  # fmt: skip
    return values | changes


def app_session(name: str = "x", session_id: str = "a", host: str = "tax.sekisho.localhost") -> AppSession:
    return AppSession(name, session_id, "tax", host, token_hash(f"app {name}"), 0.0)


def refused(city: World, code: str, op: str, **args: Any) -> None:
    before = city.store.revision
    with pytest.raises(CommandRefused) as refusal:
        city.run(op, **args)
    assert refusal.value.code == code
    assert city.store.revision == before


def test_a_session_gets_the_stewards_times_and_limits(city: World) -> None:
    kept = city.reader.session("a")
    assert kept is not None
    assert (kept.created_at, kept.expires_at, kept.idle_limit) == (NOW, NOW + 32_400, 1800)


@pytest.mark.parametrize(("asked", "kept"), [(NOW + 365 * 86_400.0, NOW), (NOW - 60.0, NOW - 60.0), (None, None)])
def test_a_clock_that_leapt_makes_no_second_factor_of_the_future(
    city: World, asked: float | None, kept: float | None
) -> None:
    """Sign-in goes by the machine's clock: its leap would have kept the factor fresh for as long as the session."""
    city.run("session.start", session=begun("b", mfa_at=asked).to_row())
    started = city.reader.session("b")
    assert started is not None
    assert started.mfa_at == kept


def test_a_session_above_the_limit_ends_the_oldest(city: World) -> None:
    for number, name in enumerate("bcd"):
        city.now = NOW + number + 1
        outcome = city.run("session.start", session=begun(name).to_row())
    assert outcome.result["replaced"] == ["a"]
    ended = city.reader.session("a")
    assert ended is not None
    assert ended.end_reason == "session_replaced"


def test_a_session_on_the_same_browser_replaces_the_one_before(city: World) -> None:
    city.run("session.start", session=begun("b", "u2").to_row(), replaces="a")
    assert [each.id for each in city.reader.sessions()] == ["b"]


def test_operators_tokens_count_apart_and_open_no_app(city: World) -> None:
    for number in range(3):
        city.run("session.start", session=begun(f"o{number}", operator=True).to_row())
    assert len(city.reader.sessions(user_id="u1")) == 4
    refused(city, "not_permitted", "handoff.put", **handoff(session_id="o1"))
    refused(city, "not_permitted", "app_session.start", app_session=app_session(session_id="o1").to_row())


@pytest.mark.parametrize(
    ("selector", "ended"),
    [
        ({"sessions": ["a", "zz"]}, ["a"]), ({"user": "u1"}, ["a", "o"]), ({"user": "u9"}, []),
        ({"device": "d1"}, ["b"]), ({"group": "tax"}, ["a", "b", "o"]), ({"app": "tax"}, ["a"]),
        ({"all": True}, ["a", "b"]), ({"operator": True}, ["o"]),
    ],
)  # fmt: skip
def test_ends_whom_the_selector_names(city: World, selector: dict[str, Any], ended: list[str]) -> None:
    city.run("session.start", session=begun("b", "u2", device_id="d1").to_row())
    city.run("session.start", session=begun("o", operator=True).to_row())
    city.run("app_session.start", app_session=app_session().to_row())
    outcome = city.run("session.end", selector=selector, reason="session_revoked", message="m", by="ciso", why="w")
    assert outcome.result["sessions"] == ended
    assert outcome.draft is not None
    assert list(outcome.draft.sessions) == ended
    assert len(outcome.records) == len(ended)
    assert sorted(each.id for each in city.reader.sessions()) == sorted({"a", "b", "o"} - set(ended))
    for name in ended:
        kept = city.reader.session(name)
        assert kept is not None
        assert (kept.end_reason, kept.end_message, kept.ended_at) == ("session_revoked", "m", NOW)


def test_a_disabled_person_has_no_sessions_and_gets_none(city: World) -> None:
    outcome = city.run("user.disable", id="u1", reason="退職", by="ciso")
    assert outcome.result["sessions"] == ["a"]
    refused(city, "user_disabled", "session.start", session=begun("b").to_row())
    refused(city, "session_ended", "app_session.start", app_session=app_session().to_row())
    city.run("user.enable", id="u1", reason="誤り", by="ciso")
    city.run("session.start", session=begun("b").to_row())


@pytest.mark.promise("P1.code-once")
def test_a_code_counts_once_also_after_a_restart(city: World) -> None:
    assert city.run("code.use", key="totp:f:1", expires_at=NOW + 90).result == {"fresh": True}
    city.store.close()
    assert city.run("code.use", key="totp:f:1", expires_at=NOW + 90).result == {"fresh": False}


def test_the_wait_grows_from_the_fifth_failure(city: World) -> None:
    waits = [city.run("attempt.fail", account="user:u1").result["wait_until"] for _ in range(8)]
    assert waits == [None, None, None, None, NOW + 30, NOW + 60, NOW + 120, NOW + 240]
    assert city.run("attempt.get", account="user:u1").result == {"count": 8, "wait_until": NOW + 240}
    city.run("attempt.clear", account="user:u1")
    assert city.run("attempt.get", account="user:u1").result == {"count": 0, "wait_until": None}


@pytest.mark.parametrize(
    ("late", "wrong", "code"),
    [
        (0.0, {}, ""),
        (31.0, {}, "code_expired"),
        (0.0, {"host": "b"}, "code_wrong"),
        (0.0, {"state_hash": "s"}, "code_wrong"),
    ],
)
def test_a_handoff_is_good_once_for_its_host_and_browser(
    city: World, late: float, wrong: dict[str, str], code: str
) -> None:
    city.run("handoff.put", **handoff())
    city.now += late
    asked = {"code_hash": token_hash("code"), "host": "tax.sekisho.localhost", "state_hash": "state"} | wrong
    outcome = city.run("handoff.take", **asked)
    assert (outcome.refusal.code if outcome.refusal else "") == code
    assert outcome.result == ({} if code else {"session_id": "a", "app_id": "tax", "return_to": "/x"})
    refused(city, "code_reused", "handoff.take", **asked)


def test_locks_policies_apps_approvals(city: World) -> None:
    assert city.run("lock.add", lock=LOCK.to_row()).draft is not None
    city.run("lock.remove", id="l1", by="ciso", reason="済")
    assert city.reader.locks() == []
    refused(city, "unknown_lock", "lock.remove", id="l1", by="ciso", reason="済")
    refused(city, "host_taken", "app.put", app=dataclasses.replace(APP, id="other").to_row())
    refused(city, "not_permitted", "app.put", app=dataclasses.replace(APP, approved_by="owner").to_row())
    asked = Approval("p1", "app", "tax", "", "owner", NOW, NOW + 60, "", None, False)
    city.run("approval.put", approval=asked.to_row())
    refused(city, "not_permitted", "approval.decide", id="p1", by="owner", granted=True)
    assert city.run("approval.decide", id="p1", by="ciso", granted=True).result["approval"]["granted"] is True
    refused(city, "approval_over", "approval.decide", id="p1", by="ciso", granted=True)


def test_a_policy_that_names_what_an_app_masks_is_not_activated(city: World) -> None:
    city.run("app.put", app=dataclasses.replace(APP, masked_paths=("/people/*",)).to_row())
    version = PolicyVersion(token_hash("one"), "題", "one", "author", NOW, "proposed", "")
    city.run("policy.put", version=version.to_row())
    about = condition("app", "any_of", "tax")
    spelled = policy(rule("r", when=(about, condition("http.path", "under", "/people/1")))).to_wire()
    numbered = policy(rule("r", when=(about, condition("http.path", "under", "/x/123456789018")))).to_wire()
    for ir in (spelled, numbered):
        refused(city, "masked_named", "policy.activate", hash=version.hash, by="ciso", ir=ir)
    free = policy(rule("r", when=(about, condition("http.path", "template", "/people/*/edit")))).to_wire()
    city.run("policy.activate", hash=version.hash, by="ciso", ir=free)


def test_a_policy_is_activated_by_another_person_and_retires_the_one_before(city: World) -> None:
    for source in ("one", "two"):
        version = PolicyVersion(token_hash(source), source, source, "author", 0, "active", "author")
        city.run("policy.put", version=version.to_row())
        refused(city, "not_permitted", "policy.activate", hash=version.hash, by="author", ir=IR)
        city.run("policy.activate", hash=version.hash, by="ciso", ir=IR)
    states = {each.title: each.state for each in city.reader.policies()}
    assert states == {"one": "retired", "two": "active"}
    city.run("policy.activate", hash=token_hash("one"), by="author", ir=IR)  # a rollback was approved before
    refused(city, "bad_arguments", "policy.put", version=dataclasses.replace(version, hash="0" * 64).to_row())


def test_devices_and_pages_reach_the_feed(city: World) -> None:
    city.run("devices.put", devices=[DEVICE.to_row()])
    refused(city, "uuid_taken", "devices.put", devices=[dataclasses.replace(DEVICE, id="d2").to_row()])
    city.run("pages.put", pages={"a": "1", "b": "2"})
    city.told.clear()
    city.run("pages.put", pages={"b": "3"})
    assert [(table, key, row is None) for table, key, row in city.told] == [("page", "a", True), ("page", "b", False)]


@pytest.mark.parametrize("op", sorted(COMMANDS))
def test_unknown_or_missing_arguments_are_refused(city: World, op: str) -> None:
    with pytest.raises(CommandRefused):
        city.run(op, surprise=1)
    with pytest.raises(CommandRefused):
        city.run(op, id=7, session="x", user=[], lock={"id": 1}, selector={"user": 1, "all": True})


def test_every_record_has_the_shape_of_the_schema(city: World) -> None:
    records = city.run("user.disable", id="u1", reason="r", by="ciso").records
    records += city.run("user.enable", id="u1", reason="r", by="ciso").records
    records += city.run("session.start", session=begun("n").to_row()).records
    records += city.run("session.elevate", id="n", token_hash=token_hash("n2"), amr=["pwd"], acr="a", mfa_method="totp",
                        mfa_at=NOW).records  # fmt: skip
    records += city.run("app_session.start", app_session=app_session(session_id="n").to_row()).records
    records += city.run("lock.add", lock=LOCK.to_row()).records
    records += city.run("lock.remove", id="l1", by="c", reason="r").records
    records += city.run("app.remove", id="tax", by="c").records
    assert [fault for record in records for fault in check(record)] == []
    assert len(records) >= 9
