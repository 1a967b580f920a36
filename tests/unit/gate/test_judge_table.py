"""The gate as a table: one thing is changed in a city where everything is in order, and the verdict is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from audit.event import check
from gateway.gate.facts import facts_of_record
from gateway.gate.limits import OPEN, SETTLED, Limits
from gateway.gate.request import Peer, RequestHead
from gateway.gate.verdict import (
    Forward,
    Limited,
    Local,
    Preflight,
    Refuse,
    SignIn,
    StepUp,
    Unknown,
    Verdict,
)  # fmt: skip
from gateway.state.changes import Change
from gateway.state.records import AppSession
from policies.compile import compile_policy
from policies.decision import Effect
from tests.support.gate_world import (
    APP,
    CERTIFICATE,
    DEVICE,
    HOST,
    MONO,
    NOW,
    PAYMENTS,
    PEER,
    PORTAL,
    PORTAL_TOKEN,
    SESSION,
    TOKEN,
    USER,
    World,
    condition,
    head,
    policy,
    rule,
)  # fmt: skip

Change_ = Callable[[World], None]
NOTHING: Change_ = lambda world: None  # noqa: E731


def peer(**changes: Any) -> Peer:
    return replace(PEER, **changes)


def user_is(**changes: Any) -> Change_:
    return lambda world: world.put("user", USER.id, replace(USER, **changes))


def session_is(**changes: Any) -> Change_:
    return lambda world: world.put("session", SESSION.id, replace(SESSION, **changes))


def device_is(**changes: Any) -> Change_:
    return lambda world: world.put("device", DEVICE.id, replace(DEVICE, **changes))


def locked(target: str, name: str, expires_at: float | None = None) -> Change_:
    return lambda world: world.lock(target, name, "調査中", expires_at)


def summary(verdict: Verdict) -> str:
    match verdict:
        case Refuse():
            return f"refuse {verdict.status} {verdict.reason}"
        case SignIn():
            return f"sign_in {verdict.reason}"
        case StepUp():
            return f"step_up {verdict.need.max_age:g}"
        case Limited():
            return f"limited {verdict.retry_after}"
        case Local():
            return f"local {dict(verdict.headers)[b'X-Sekisho-Area'].decode()}"
        case Unknown() | Forward() | Preflight():
            return type(verdict).__name__.lower()


CROSS: dict[str, Any] = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
OWN: dict[str, Any] = {"Origin": f"https://{HOST}", "Sec_Fetch_Site": "same-origin"}
KNOWN: dict[str, Any] = {"Origin": "https://portal.other.example", "Sec_Fetch_Site": "cross-site"}
ASKS: dict[str, Any] = {"Access_Control_Request_Method": "POST"}

TABLE: list[tuple[str, Change_, RequestHead, str]] = [
    ("in order", NOTHING, head(), "forward"),
    ("app not registered", NOTHING, head(host="other.sekisho.localhost"), "refuse 404 unknown_host"),
    ("another name in TLS", NOTHING, head(peer=peer(server_name="x.example")), "refuse 421 misdirected"),
    ("method of no app", NOTHING, head("DELETE"), "refuse 405 method_not_allowed"),
    ("no cookie", NOTHING, head(cookie=None), "sign_in sign_in_required"),
    ("cookie too short", NOTHING, head(cookie="__Host-sekisho-app=abc"), "sign_in sign_in_required"),
    ("cookie twice", NOTHING, head(cookie="; ".join([f"__Host-sekisho-app={TOKEN}"] * 2)), "sign_in sign_in_required"),
    ("other cookies around", NOTHING, head(cookie=f"a=1; __Host-sekisho-app={TOKEN}; b=2"), "forward"),
    ("a cookie ending in our name", NOTHING, head(cookie=f"x__Host-sekisho-app={TOKEN}"), "sign_in sign_in_required"),
    ("that cookie before ours", NOTHING, head(cookie=f"x__Host-sekisho-app=1; __Host-sekisho-app={TOKEN}"), "forward"),
    ("token never seen", NOTHING, head(cookie=f"__Host-sekisho-app={'B' * 43}"), "unknown"),
    ("portal token on an app", NOTHING, head(cookie=f"__Host-sekisho-app={PORTAL_TOKEN}"), "unknown"),
    ("app token on another app", NOTHING, head(host=PAYMENTS.hosts[0]), "sign_in sign_in_required"),
    ("session revoked", session_is(ended_at=NOW, end_reason="session_revoked"), head(), "sign_in session_revoked"),
    ("session idle", session_is(ended_at=NOW, end_reason="session_idle"), head(), "sign_in session_idle"),
    ("session past its limit", session_is(expires_at=NOW), head(), "sign_in session_expired"),
    ("operator's token", session_is(operator=True), head(), "sign_in sign_in_required"),
    ("person disabled", user_is(disabled=True), head(), "refuse 403 user_disabled"),
    ("contract over", user_is(contract_end=NOW), head(), "refuse 403 contract_ended"),
    ("contract not over", user_is(contract_end=NOW + 1), head(), "forward"),
    ("no certificate", NOTHING, head(peer=peer(certificate=None)), "refuse 403 device_changed"),
    ("certificate out of date", NOTHING, head(peer=peer(certificate=replace(CERTIFICATE, not_after=NOW))),
     "refuse 403 device_changed"),
    ("certificate revoked", NOTHING, head(peer=peer(certificate=replace(CERTIFICATE, serial="bad1"))),
     "refuse 403 device_certificate_revoked"),
    ("device of somebody else", device_is(owner="suzuki"), head(), "refuse 403 device_owner_mismatch"),
    ("listener of certificate help", NOTHING, head(peer=peer(listener="help")), "refuse 403 certificate_help"),
    ("shared device", device_is(owner=""), head(), "forward"),
    ("device not compliant", device_is(compliant=False), head(), "refuse 403 unmet_conditions"),
    ("device not known to be compliant", device_is(compliant=None), head(), "refuse 403 unmet_conditions"),
    ("posture read too long ago", device_is(read_at=NOW - 1e5), head(), "refuse 403 unmet_conditions"),
    ("lock on the person", locked("user", "u1"), head(), "refuse 403 user_locked"),
    ("lock on the session", locked("session", "s1"), head(), "refuse 403 session_locked"),
    ("lock on the group", locked("group", "soumu"), head(), "refuse 403 group_locked"),
    ("lock on the device", locked("device", "d1"), head(), "refuse 403 device_locked"),
    ("lock on the app", locked("app", "docs"), head(cookie=None), "refuse 403 app_locked"),
    ("lock on somebody else", locked("user", "u2"), head(), "forward"),
    ("lock that ran out", locked("user", "u1", NOW), head(), "forward"),
    ("lock with time left", locked("user", "u1", NOW + 1), head(), "refuse 403 user_locked"),
    ("from outside the office", NOTHING, head(peer=peer(address="203.0.113.9")), "refuse 403 unmet_conditions"),
    ("second factor too old", session_is(mfa_at=NOW - 50_000), head(), "step_up 43200"),
    ("too old, and outside as well", session_is(mfa_at=NOW - 50_000), head(peer=peer(address="203.0.113.9")),
     "refuse 403 unmet_conditions"),
    ("denied by a rule, a step-up helps", NOTHING, head(path="/approve/1"), "step_up 300"),
    ("no policy yet", lambda world: setattr(world.view, "policy", None), head(), "refuse 503 state_stale"),
    ("clock jumped", lambda world: world.view.beat(NOW, MONO, "", True), head(), "refuse 503 state_stale"),
    ("form from another site", NOTHING, head("POST", **CROSS), "refuse 403 cross_site"),
    ("form of unknown origin", NOTHING, head("POST", Origin="null"), "refuse 403 cross_site"),
    ("another site, origin withheld", NOTHING, head("POST", Sec_Fetch_Site="cross-site"), "refuse 403 cross_site"),
    ("form of its own", NOTHING, head("POST", **OWN), "forward"),
    ("own name, plain scheme", NOTHING, head("POST", Origin=f"http://{HOST}"), "refuse 403 cross_site"),
    ("registered other origin", NOTHING, head("POST", **KNOWN), "forward"),
    ("link from another site", NOTHING, head("GET", Sec_Fetch_Site="cross-site"), "forward"),
    ("socket from another site", NOTHING, head(upgrade=True, **CROSS), "refuse 403 cross_site"),
    ("socket of its own", NOTHING, head(upgrade=True, **OWN), "forward"),
    ("preflight of a registered origin", NOTHING, head("OPTIONS", cookie=None, **KNOWN, **ASKS), "preflight"),
    ("preflight of another", NOTHING, head("OPTIONS", cookie=None, **CROSS, **ASKS), "refuse 403 cross_site"),
    ("portal", NOTHING, head(host=PORTAL, cookie=None), "local portal"),
    ("our page on an app", NOTHING, head(path="/.sekisho/whoami"), "local app"),
    ("nearly our page", NOTHING, head(path="/.sekishox"), "forward"),
]  # fmt: skip


@pytest.mark.promise("P1.every-request-judged")
@pytest.mark.parametrize(("change", "request_head", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_verdict(change: Change_, request_head: RequestHead, expected: str) -> None:
    world = World()
    change(world)

    verdict = world.judge(request_head)

    assert summary(verdict) == expected
    if not isinstance(verdict, Unknown):
        assert check(verdict.record) == []
        assert verdict.record["event.outcome"] == (
            "success" if isinstance(verdict, Forward | Local | Preflight) else "failure"
        )
        assert not any(secret in str(verdict.record) for secret in (TOKEN, PORTAL_TOKEN))


@pytest.mark.parametrize(
    ("limits", "request_head", "expected"),
    [
        (Limits(address_wait=3), head(), "limited 4"),
        (Limits(address_wait=3), head(host="nowhere.example"), "limited 4"),
        (Limits(principal_wait=2), head(), "limited 3"),
        (Limits(principal_wait=2), head(cookie=None), "sign_in sign_in_required"),
        (SETTLED, head(cookie=f"__Host-sekisho-app={'B' * 43}"), "sign_in sign_in_required"),
        (OPEN, head(host=PORTAL, cookie=f"__Host-sekisho={'B' * 43}"), "unknown"),
        (SETTLED, head(host=PORTAL, cookie=f"__Host-sekisho={'B' * 43}"), "local portal"),
    ],
)
def test_limits_decide_in_their_place(limits: Limits, request_head: RequestHead, expected: str) -> None:
    assert summary(World().judge(request_head, limits)) == expected


@pytest.mark.promise("P1.stale-state-refuses")
@pytest.mark.parametrize(
    ("age", "expected"), [(5.0, "forward"), (5.1, "refuse 503 state_stale"), (1e6, "refuse 503 state_stale")]
)
def test_a_view_without_heartbeat_allows_nothing(age: float, expected: str) -> None:
    assert summary(World().judge(head(), mono=MONO + age)) == expected
    if age > 5:
        assert summary(World().judge(head(host=PORTAL, cookie=None), mono=MONO + age)) == expected


def test_an_allowed_request_says_who_asks() -> None:
    verdict = World().judge(head())
    assert isinstance(verdict, Forward)
    assert verdict.claims == {
        "aud": ["docs", HOST], "sub": "u1", "email": "tanaka@city.example", "preferred_username": "tanaka",
        "name": "田中 花子", "groups": ["shokuin", "soumu"], "amr": ["pwd", "otp", "mfa"], "acr": "urn:sekisho:aal2",
        "sid": "s1", "sekisho": {"device_id": "d1", "device_state": "compliant"},
    }  # fmt: skip
    assert verdict.headers == ()


@pytest.mark.promise("P8.replay-from-record")
@pytest.mark.parametrize("path", ["/list", "/approve/1"])
def test_the_record_gives_back_the_facts_that_were_judged(path: str) -> None:
    world = World()
    verdict = world.judge(head(path=path, peer=peer(address="203.0.113.9")))
    assert not isinstance(verdict, Unknown)
    assert world.view.policy is not None

    decision = world.view.policy.evaluate(facts_of_record(verdict.record))

    assert decision.effect is Effect.DENY
    allowed = world.judge(head(path="/list"))
    assert isinstance(allowed, Forward)
    assert world.view.policy.evaluate(facts_of_record(allowed.record)).rule == allowed.record["rule.id"]


def test_a_session_limit_of_the_policy_asks_for_a_fresh_factor() -> None:
    world = World()
    host = PAYMENTS.hosts[0]
    digest = sha256(b"C" * 43).hexdigest()
    world.put("app_session", digest, AppSession("a2", "s1", "pay", host, digest, NOW))
    cookie = f"__Host-sekisho-app={'C' * 43}"

    assert summary(world.judge(head(host=host, cookie=cookie))) == "step_up 300"
    world.put("session", SESSION.id, replace(SESSION, mfa_at=NOW - 299))
    world.put("app_session", digest, AppSession("a2", "s1", "pay", host, digest, NOW))
    assert summary(world.judge(head(host=host, cookie=cookie))) == "forward"


def test_a_changed_record_is_seen_by_the_next_request() -> None:
    world = World()
    assert summary(world.judge(head())) == "forward"
    world.put("device", DEVICE.id, replace(DEVICE, compliant=False))
    assert summary(world.judge(head())) == "refuse 403 unmet_conditions"
    world.put("device", DEVICE.id, DEVICE)
    world.put("user", USER.id, replace(USER, groups=("others",)))
    assert summary(world.judge(head())) == "refuse 403 no_applicable_rule"
    world.view.set_policy(compile_policy(policy(rule("all", when=(condition("app", "any_of", "docs"),)))), Change(9))
    assert summary(world.judge(head())) == "forward"


def test_masked_segments_and_queries_stand_in_no_record() -> None:
    verdict = World().judge(head(path="/people/123456789012", query="mynumber=123456789012"))
    assert isinstance(verdict, Forward)
    assert "123456789012" not in str(verdict.record)
    assert verdict.record["url.path"].startswith("/people/~")
    assert verdict.record["url.query"].startswith("~")


def test_our_pages_are_told_only_of_a_session_in_order() -> None:
    cookie = f"__Host-sekisho={PORTAL_TOKEN}"

    def told(world: World, request: RequestHead) -> dict[bytes, bytes]:
        verdict = world.judge(request)
        assert isinstance(verdict, Local)
        assert "url.query" not in verdict.record
        return dict(verdict.headers)

    own = head(host=PORTAL, cookie=cookie, query="code=secret")
    assert told(World(), own)[b"X-Sekisho-Session"] == b"s1"
    assert told(World(), own)[b"X-Sekisho-Zone"] == b"office"
    assert told(World(), own)[b"X-Sekisho-Device"] == b"d1"
    changes = (
        (user_is(disabled=True), b"user_disabled"), (locked("user", "u1"), b"user_locked"),
        (device_is(owner="suzuki"), b"device_owner_mismatch"), (session_is(expires_at=NOW), b"session_expired"),
    )  # fmt: skip
    for change, why in changes:
        world = World()
        change(world)
        assert b"X-Sekisho-Session" not in told(world, own)
        assert told(world, own)[b"X-Sekisho-Absence"] == why
    assert b"X-Sekisho-Absence" not in told(World(), own)
    revoked = head(host=PORTAL, cookie=cookie, peer=peer(server_name=PORTAL, certificate=None))
    assert b"X-Sekisho-Session" not in told(World(), revoked)
    assert told(World(), head(path="/.sekisho/whoami"))[b"X-Sekisho-App"] == b"docs"


def test_the_app_of_the_table_is_what_it_says() -> None:
    assert APP.methods == ("GET", "HEAD", "POST", "OPTIONS")
