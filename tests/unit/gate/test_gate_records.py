"""What a decision's record says, whole: every field of it, for each kind of verdict, and no other field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from audit.completion import named
from audit.event import IMPLIED, whole
from gateway.gate.asked import KEPT, LONGEST, Asked
from gateway.gate.decision_record import add_decision, add_explanation, fault_record, own_bytes, own_fields
from gateway.gate.limits import Limits
from gateway.gate.request import OldAppHead, PathExceptions, Peer, RequestFault, RequestHead
from gateway.gate.verdict import Forward, Local, Preflight, SignIn, StepUp, Unknown
from gateway.state.changes import Change
from gateway.state.records import App
from policies.compile import compile_policy
from policies.decision import Decision, Effect, Explanation, Obligation, Unmet
from policies.model import Mode
from policies.reasons import Reason
from tests.support.gate_world import (
    APP,
    APP_SESSION,
    CERTIFICATE,
    DEVICE,
    HOST,
    KEY,
    NOW,
    PAYMENTS,
    PEER,
    PORTAL,
    PORTAL_TOKEN,
    REQUEST_ID,
    RULES,
    SESSION,
    USER,
    World,
    condition,
    head,
    policy,
    record_bytes,
    rule,
)  # fmt: skip

WHEN = "2026-09-21T14:13:20.000Z"
KNOWN: dict[str, Any] = {"Origin": "https://portal.other.example", "Sec_Fetch_Site": "cross-site"}
REQUEST: dict[str, Any] = {
    "@timestamp": WHEN, "ecs.version": "9.4.0", "event.action": "request.decided", "event.dataset": "sekisho.access",
    "event.kind": "event", "event.category": ["web", "network"], "http.request.id": REQUEST_ID,
    "http.request.method": "GET", "url.domain": HOST, "url.path": "/", "sekisho.listener": "public",
    "source.ip": "10.1.2.3",
}  # fmt: skip
ALLOWED: dict[str, Any] = {**REQUEST, "event.outcome": "success", "event.type": ["access", "allowed"]}
DENIED: dict[str, Any] = {**REQUEST, "event.outcome": "failure", "event.type": ["access", "denied"]}
PERSON: dict[str, Any] = {
    "user.id": "u1", "user.name": "tanaka", "user.group.name": ["shokuin", "soumu"], "sekisho.session.id": "s1",
}  # fmt: skip
DEVICE_FIELDS: dict[str, Any] = {"device.id": "d1", "sekisho.certificate.serial": "0abc"}
STANDING: dict[str, Any] = {
    **PERSON, **DEVICE_FIELDS, "sekisho.app.id": "docs", "sekisho.app_session.id": "a1",
}  # fmt: skip
DOCS = {"sekisho.app.id": "docs"}
FACTS: dict[str, Any] = {
    "app.business": "文書", "app.sensitivity": "2", "auth.age": 600, "device.compliant": True, "device.encrypted": True,
    "device.in_grace": False, "device.jailbroken": False, "device.known": True, "device.managed": True,
    "device.os": "Windows", "device.os_version": "10.0.22631", "device.owner_match": True, "device.patch_age": 864000,
    "mfa.age": 600, "mfa.amr": ["mfa", "otp", "pwd"], "mfa.method": "totp", "posture.read_age": 60,
    "posture.seen_age": 3600, "time.now": 1_790_000_000, "time.of_day": 1393, "time.weekday": "mon",
    "user.contract_valid": True, "user.department": "総務課", "user.kind": "staff",
}  # fmt: skip
JUDGED: dict[str, Any] = {"sekisho.zone": "office", "sekisho.policy.hash": "ab" * 32, "sekisho.facts": FACTS}


def keyed(text: bytes) -> str:
    return "~" + blake2b(text, key=KEY, digest_size=12).hexdigest()


def recorded(request: RequestHead, world: World | None = None, limits: Limits | None = None) -> Mapping[str, Any]:
    verdict = (world or World()).judge(request, limits or Limits(settled=True))
    assert not isinstance(verdict, Unknown)
    if isinstance(verdict, Forward):
        line = orjson.loads(record_bytes(verdict))
        assert not IMPLIED & line.keys()
        assert whole(line) == verdict.record
    return verdict.record


def world_with(table: str, record: Any) -> World:
    world = World()
    world.put(table, record.id, record)
    return world


def policy_of(*rules: Any) -> World:
    world = World()
    world.view.set_policy(compile_policy(policy(*sorted(rules, key=lambda item: item.id))), Change(9))
    return world


LONG = "a" * 300
ENDED = replace(SESSION, ended_at=NOW, end_reason="session_idle")
TABLE: list[tuple[str, Callable[[], World], RequestHead, dict[str, Any]]] = [
    ("allowed", World, head(), {
        **ALLOWED, **STANDING, **JUDGED, "sekisho.verdict": "forward", "sekisho.reason": "allowed",
        "rule.id": "docs-staff",
    }),
    ("allowed, query and path masked, another browser than at sign-in", World,
     head("POST", path="/people/12/34", query="a=1", user_agent=LONG), {
        **ALLOWED, **STANDING, **JUDGED, "sekisho.verdict": "forward", "sekisho.reason": "allowed",
        "rule.id": "docs-staff", "http.request.method": "POST", "url.path": f"/people/{keyed(b'12')}/34",
        "url.query": keyed(b"a=1"), "user_agent.original": "a" * 256, "sekisho.path_digests": [keyed(b"12")[1:]],
    }),
    ("allowed, same browser as at sign-in", lambda: world_with("session", replace(SESSION, user_agent="same")),
     head(user_agent="same"), {
        **ALLOWED, **STANDING, **JUDGED, "sekisho.verdict": "forward", "sekisho.reason": "allowed",
        "rule.id": "docs-staff",
    }),
    ("allowed from a shared device without a person's name", lambda: world_with("device", replace(DEVICE, owner="")),
     head(), {
        **ALLOWED, **STANDING, **JUDGED, "sekisho.verdict": "forward", "sekisho.reason": "allowed",
        "rule.id": "docs-staff",
        "sekisho.facts": {name: value for name, value in FACTS.items() if name != "device.owner_match"},
    }),
    ("refused by the policy", lambda: world_with("device", replace(DEVICE, compliant=False)), head(user_agent="x"), {
        **DENIED, **STANDING, **JUDGED, "sekisho.verdict": "refuse", "sekisho.reason": "unmet_conditions",
        "sekisho.facts": {**FACTS, "device.compliant": False}, "sekisho.nearest": "docs-staff",
        "sekisho.unmet": [{"fact": "device.compliant", "operator": "is", "required": "true", "actual": "false"}],
        "user_agent.original": "x",
    }),
    ("asked for a fresh factor", lambda: world_with("session", replace(SESSION, mfa_at=NOW - 50_000)), head(), {
        **DENIED, **STANDING, **JUDGED, "sekisho.verdict": "step_up", "sekisho.reason": "step_up_required",
        "sekisho.facts": {**FACTS, "mfa.age": 50_000}, "sekisho.nearest": "docs-staff",
        "sekisho.unmet": [{"fact": "mfa.age", "operator": "max", "required": "12h", "actual": "13h53m"}],
    }),
    ("denied by a rule that a fresh factor satisfies", World, head(path="/approve/1"), {
        **DENIED, **STANDING, **JUDGED, "sekisho.verdict": "step_up", "sekisho.reason": "step_up_required",
        "url.path": "/approve/1", "rule.id": "docs-approve",
        "sekisho.unmet": [{"fact": "mfa.age", "operator": "max", "required": "5m", "actual": "10m"}],
    }),
    ("session over", lambda: world_with("session", ENDED), head(user_agent=LONG, query=""), {
        **DENIED, **DOCS, "sekisho.verdict": "sign_in", "sekisho.reason": "session_idle", "sekisho.session.id": "s1",
        "related.user": ["u1", "tanaka"], "url.query": keyed(b""), "user_agent.original": "a" * 256,
    }),
    ("never signed in, at a socket without an address", World,
     head(cookie=None, peer=replace(PEER, address="", server_name="")), {
        **{name: value for name, value in DENIED.items() if name != "source.ip"}, **DOCS,
        "sekisho.verdict": "sign_in", "sekisho.reason": "sign_in_required",
    }),
    ("person disabled", lambda: world_with("user", replace(USER, disabled=True)), head(), {
        **DENIED, **DOCS, **PERSON, "sekisho.verdict": "refuse", "sekisho.reason": "user_disabled",
    }),
    ("certificate revoked", World, head(peer=replace(PEER, certificate=replace(CERTIFICATE, serial="bad1"))), {
        **DENIED, **DOCS, **PERSON, "sekisho.app_session.id": "a1", "sekisho.certificate.serial": "bad1",
        "sekisho.verdict": "refuse", "sekisho.reason": "device_certificate_revoked",
    }),
    ("host of nobody", World, head(host="x.example"), {
        **DENIED, "url.domain": "x.example", "sekisho.verdict": "refuse", "sekisho.reason": "unknown_host",
    }),
    ("preflight", World, head("OPTIONS", cookie=None, Access_Control_Request_Method="POST", **KNOWN), {
        **ALLOWED, **DOCS, "http.request.method": "OPTIONS", "sekisho.verdict": "preflight",
        "sekisho.reason": "preflight",
    }),
    ("portal, signed in", World, head(host=PORTAL, cookie=f"__Host-sekisho={PORTAL_TOKEN}", query="code=1"), {
        **ALLOWED, **PERSON, **DEVICE_FIELDS, "url.domain": PORTAL, "sekisho.verdict": "local",
        "sekisho.reason": "own_page", "sekisho.area": "portal", "sekisho.zone": "office",
    }),
    ("portal, session over", lambda: world_with("session", ENDED),
     head(host=PORTAL, cookie=f"__Host-sekisho={PORTAL_TOKEN}"), {
        **ALLOWED, "url.domain": PORTAL, "sekisho.verdict": "local", "sekisho.reason": "own_page",
        "sekisho.area": "portal", "sekisho.zone": "office", "sekisho.session.id": "s1",
        "related.user": ["u1", "tanaka"],
    }),
    ("our page on an app, from outside", World, head(path="/.sekisho", peer=replace(PEER, address="203.0.113.9")), {
        **ALLOWED, **DOCS, **PERSON, **DEVICE_FIELDS, "url.path": "/.sekisho", "source.ip": "203.0.113.9",
        "sekisho.verdict": "local", "sekisho.reason": "own_page", "sekisho.area": "app", "sekisho.zone": "internet",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("world", "request_head", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_the_whole_record(world: Callable[[], World], request_head: RequestHead, expected: dict[str, Any]) -> None:
    assert recorded(request_head, world()) == expected


def test_who_is_asked_to_sign_in_reads_a_message_only_where_somebody_wrote_one() -> None:
    bare = World().judge(head(cookie=None))
    ended = world_with("session", replace(ENDED, end_message="端末を調べます")).judge(head(path="/x", query="y"))
    assert isinstance(bare, SignIn)
    assert isinstance(ended, SignIn)
    assert (bare.message, bare.reason, bare.return_to) == ("", "sign_in_required", "/")
    assert (ended.message, ended.reason, ended.return_to) == ("端末を調べます", "session_idle", "/x?y")


def test_a_limited_request_says_for_how_long() -> None:
    assert recorded(head(), limits=Limits(address_wait=3)) == {
        **DENIED, "sekisho.verdict": "limited", "sekisho.reason": "rate_limited", "sekisho.retry_after": 4,
    }  # fmt: skip


def test_shadow_observed_and_obligations_are_told() -> None:
    here = (condition("app", "any_of", "docs"),)
    world = policy_of(
        rule("all", when=here, obligations=(Obligation("session_max", "86400"),)),
        rule("would-deny", Effect.DENY, mode=Mode.SHADOW, when=here),
        rule("watched", Effect.DENY, mode=Mode.OBSERVE, expires=4_000_000_000.0, when=here),
    )
    record = recorded(head(), world)
    assert record["sekisho.shadow"] == ["would-deny"]
    assert record["sekisho.observed"] == ["watched"]
    assert record["sekisho.obligations"] == ["session_max=86400"]
    assert record["sekisho.reason"] == "allowed_observed"


@pytest.mark.parametrize(("age", "kind"), [(299, Forward), (300, StepUp), (301, StepUp)])
def test_a_session_limit_counts_from_the_latest_proof(age: int, kind: type) -> None:
    limited = rule("all", when=(condition("app", "any_of", "docs"),), obligations=(Obligation("session_max", "300"),))
    for changes in (
        {"mfa_at": NOW - age, "created_at": NOW - 9999},
        {"mfa_at": NOW - 9999, "created_at": NOW - age},
        {"mfa_at": None, "created_at": NOW - age},
    ):
        world = policy_of(limited)
        world.put("session", SESSION.id, replace(SESSION, **changes))
        verdict = world.judge(head())
        assert type(verdict) is kind
        if isinstance(verdict, StepUp):
            assert (verdict.need.methods, verdict.need.max_age, verdict.return_to) == ((), 300.0, "/")
            assert verdict.record["rule.id"] == "all"
            assert verdict.record["sekisho.nearest"] == "all"
            assert verdict.record["sekisho.policy.hash"] == "ab" * 32


def test_no_more_than_eight_unmet_conditions_are_listed() -> None:
    unmet = tuple(Unmet(f"a{at}", "is", "true", None, "", False, "") for at in range(9))
    decision = Decision(Effect.DENY, Reason.UNMET_CONDITIONS, "")
    record: dict[str, Any] = {}
    add_explanation(record, Explanation(decision, (), "", unmet, "", None, "h"))
    assert [each["fact"] for each in record["sekisho.unmet"]] == [f"a{at}" for at in range(8)]
    assert list(record) == ["sekisho.unmet"]
    record = {}
    add_decision(record, decision, "h", "z", {"a": 1})
    assert record == {"sekisho.policy.hash": "h", "sekisho.zone": "z", "sekisho.facts": {"a": 1}}


def test_what_never_became_a_request_is_recorded_in_our_words() -> None:
    fault = RequestFault(400, Reason.MALFORMED_REQUEST, "field sent twice: host")
    assert str(fault) == "400 malformed_request: field sent twice: host"
    told = {
        "@timestamp": WHEN, "ecs.version": "9.4.0", "event.action": "request.decided",
        "event.type": ["access", "denied"], "event.dataset": "sekisho.access", "event.kind": "event",
        "event.category": ["web", "network"], "event.outcome": "failure", "http.request.id": "R",
        "sekisho.listener": "public", "error.message": "field sent twice: host",
        "sekisho.verdict": "refuse", "sekisho.reason": "malformed_request",
    }  # fmt: skip
    bare = Peer(address="", port=0, listener="public", scheme="https", server_name="")
    assert fault_record(bare, fault, NOW, "R") == told
    named = replace(bare, address="192.0.2.1", server_name="a.example")
    assert fault_record(named, fault, NOW, "R") == {
        **told, "source.ip": "192.0.2.1", "tls.client.server_name": "a.example",
    }  # fmt: skip


def test_what_a_completion_has_of_its_decision_is_who_and_what_and_nothing_else() -> None:
    wanted = {**STANDING, "source.ip": "10.1.2.3", "url.domain": HOST, "http.request.method": "GET", "url.path": "/"}
    del wanted["user.group.name"], wanted["sekisho.certificate.serial"]
    assert named(recorded(head(query="a=1"))) == wanted
    own = recorded(head(host=PORTAL, cookie=f"__Host-sekisho={PORTAL_TOKEN}"))
    assert named(own)["sekisho.area"] == "portal"


def told_to_control(world: World, request: RequestHead) -> dict[str, str]:
    verdict = world.judge(request, Limits(settled=True))
    assert isinstance(verdict, Local)
    return {name.decode().removeprefix("X-Sekisho-"): value.decode() for name, value in verdict.headers}


def test_control_is_told_who_asks_and_from_where() -> None:
    own = head(host=PORTAL, cookie=f"__Host-sekisho={PORTAL_TOKEN}")
    place = {"Request-Id": REQUEST_ID, "Area": "portal", "Peer": "10.1.2.3", "Zone": "office"}
    assert told_to_control(World(), own) == {**place, "Device": "d1", "Session": "s1"}
    over = told_to_control(world_with("session", ENDED), own)
    assert over == {**place, "Device": "d1", "Absence": "session_idle"}
    nobody = head(host=PORTAL, cookie=None, peer=replace(PEER, server_name=PORTAL, certificate=None))
    assert told_to_control(World(), nobody) == place
    on_app = {**place, "Area": "app", "App": "docs", "Device": "d1"}
    assert told_to_control(World(), head(path="/.sekisho/x")) == {**on_app, "Session": "s1"}
    assert told_to_control(World(), head(path="/.sekisho/x", cookie=f"__Host-sekisho-app={'Z' * 43}")) == on_app
    world = World()
    world.view.policy = None
    assert told_to_control(world, own)["Zone"] == "internet"


@pytest.mark.parametrize(
    ("table", "record", "absence"),
    [
        ("user", replace(USER, disabled=True), "user_disabled"),
        ("user", replace(USER, contract_end=NOW), "contract_ended"),
        ("user", replace(USER, contract_end=NOW + 1), ""),
        ("session", replace(SESSION, device_id="d2"), "device_changed"),
        ("session", replace(SESSION, device_id=None), ""),
        ("session", replace(SESSION, expires_at=NOW), "session_expired"),
        ("session", replace(SESSION, expires_at=NOW + 1), ""),
        ("session", replace(SESSION, operator=True), ""),
        ("device", replace(DEVICE, owner="suzuki"), "device_owner_mismatch"),
        ("device", replace(DEVICE, owner=""), ""),
    ],
)
def test_control_is_told_why_a_session_does_not_count(table: str, record: Any, absence: str) -> None:
    told = told_to_control(world_with(table, record), head(host=PORTAL, cookie=f"__Host-sekisho={PORTAL_TOKEN}"))
    assert told.get("Absence", "") == absence
    operator = table == "session" and record.operator
    assert ("Session" in told) is (not absence and not operator)


@pytest.mark.parametrize("target", ["session", "user", "group", "device"])
def test_control_is_told_which_lock(target: str) -> None:
    world = World()
    world.lock(target, {"session": "s1", "user": "u1", "group": "soumu", "device": "d1"}[target])
    own = head(host=PORTAL, cookie=f"__Host-sekisho={PORTAL_TOKEN}")
    assert told_to_control(world, own)["Absence"] == f"{target}_locked"


def test_a_preflight_is_answered_as_registered() -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x-a, x-b"}
    verdict = World().judge(head("OPTIONS", cookie=None, **KNOWN, **asked))
    assert isinstance(verdict, Preflight)
    assert verdict.headers == (
        (b"Access-Control-Allow-Origin", b"https://portal.other.example"),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Vary", b"Origin"),
        (b"Access-Control-Allow-Methods", b"GET, HEAD, POST, OPTIONS"),
        (b"Access-Control-Max-Age", b"600"),
        (b"Access-Control-Allow-Headers", b"x-a, x-b"),
    )


def test_the_city_of_these_records_is_the_one_they_name() -> None:
    assert (APP_SESSION.id, APP.id, PAYMENTS.id) == ("a1", "docs", "pay")
    assert [each.id for each in RULES] == ["docs-staff", "docs-approve", "pay-staff"]


PATHS = (
    "/", "/a/b.html", "/people/12/34", "/\u4eba/1", '/a"b', "/a%b", "/123456789012/x", "/1234/5678/9012",
    "/a'(b)~!$&*+,=:@",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", [None, "", "a=1", "number=123456789018", "number=1&x"])
@pytest.mark.parametrize("agent", ["", "usual", "another \u4eba"])
@pytest.mark.parametrize("app", [APP, replace(APP, masked_paths=()), replace(APP, masked_queries=("number",))])
def test_what_is_written_at_once_is_what_the_fields_say(path: str, query: str | None, agent: str, app: App) -> None:
    request = head(path=path, query=query, **({"user_agent": agent} if agent else {}))
    request.path = quote(path, safe="/'()~!$&*+,=:@").encode()
    request.line = b"GET %b HTTP/1.1" % request.target
    asked, before, behind = Asked(app), (request, NOW + 0.25, REQUEST_ID), (b"usual", KEY)
    expected = orjson.dumps(own_fields(*before, app, *behind))
    assert own_bytes(*before, asked, *behind) == expected
    assert own_bytes(*before, asked, *behind) == expected  # from what the first one left


def test_what_records_say_of_request_lines_is_kept_within_bounds() -> None:
    asked = Asked(APP)
    for number in range(KEPT + 1):
        own_bytes(head(path=f"/{number}"), NOW, REQUEST_ID, asked, b"", KEY)
    assert list(asked.known) == [b"GET /%d HTTP/1.1" % KEPT]
    own_bytes(head(path="/" + "a" * LONGEST), NOW, REQUEST_ID, asked, b"", KEY)
    assert len(asked.known) == 1


def test_the_line_that_an_old_app_gets_is_not_kept_as_it_may_hold_a_secret() -> None:
    asked, request = Asked(APP), OldAppHead()
    request.method, request.path, request.path_text, request.query, request.find = "GET", b"/", "/", None, {}
    request.line, request.exceptions = b"GET /;jsessionid=1 HTTP/1.1", PathExceptions(jsessionid=True, shift_jis=False)
    own_bytes(request, NOW, REQUEST_ID, asked, b"", KEY)
    assert asked.known == {}
