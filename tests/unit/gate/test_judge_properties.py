"""Whatever is asked and whatever is known: the judge answers, and nobody passes without session, device and policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit.event import check
from gateway.gate.facts import facts_of_record
from gateway.gate.limits import OPEN, SETTLED, Limits
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward, StepUp, Unknown
from gateway.state.changes import Change
from policies.compile import compile_policy
from policies.decision import Effect
from tests.support.gate_world import (
    CERTIFICATE,
    DEVICE,
    HOST,
    NOW,
    PAYMENTS,
    PEER,
    PORTAL,
    RULES,
    SESSION,
    TOKEN,
    USER,
    World,
    head,
    policy,
    told,
)  # fmt: skip

TOKENS = st.sampled_from([TOKEN, "B" * 43, "A" * 42, "", "\u00e9" * 43])
COOKIES = st.one_of(
    st.none(),
    TOKENS.map(lambda token: f"__Host-sekisho-app={token}"),
    TOKENS.map(lambda token: f"a=b; __Host-sekisho-app={token};c"),
    st.text(st.characters(codec="latin-1"), max_size=80),
)
HEADERS = st.dictionaries(
    st.sampled_from(["Origin", "Sec_Fetch_Site", "Sec_Fetch_Mode", "Accept", "X_Forwarded_User", "Remote_User",
                     "Access_Control_Request_Method", "Authorization", "X_Sekisho_Session"]),
    st.sampled_from(["", "null", "cross-site", f"https://{HOST}", "https://evil.example", "root", "GET", "*/*"]),
)  # fmt: skip
CERTIFICATES = st.sampled_from(
    [None, CERTIFICATE, replace(CERTIFICATE, serial="bad1"), replace(CERTIFICATE, uuid="other")]
)


@st.composite
def requests(draw: st.DrawFn) -> RequestHead:
    host = draw(st.sampled_from([HOST, PAYMENTS.hosts[0], PORTAL, "other.example"]))
    address = draw(st.sampled_from(["10.1.2.3", "203.0.113.9", "", "::1", "nonsense"]))
    peer = replace(PEER, address=address, server_name=draw(st.sampled_from([host, ""])), certificate=draw(CERTIFICATES))
    return head(
        draw(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "DELETE"])),
        draw(st.sampled_from(["/", "/list", "/approve/1", "/people/9", "/.sekisho/whoami", "/\u3042"])),
        draw(st.sampled_from([None, "", "a=b"])), host, None, peer, draw(st.booleans()), **draw(HEADERS),
    )  # fmt: skip


CHANGES: list[dict[str, Any]] = [
    {}, {"user": {"disabled": True}}, {"user": {"groups": ()}}, {"user": {"contract_end": NOW - 1}},
    {"session": {"mfa_at": None, "mfa_method": ""}}, {"session": {"expires_at": NOW - 1}},
    {"session": {"device_id": None}}, {"session": {"ended_at": NOW, "end_reason": "signed_out"}},
    {"device": {"compliant": None}}, {"device": {"owner": "x"}}, {"device": {"read_at": None}},
]  # fmt: skip


def made(changes: dict[str, Any]) -> World:
    world = World()
    for table, values in changes.items():
        record: Any = {"user": USER, "session": SESSION, "device": DEVICE}[table]
        world.put(table, record.id, replace(record, **values))
    return world


@settings(max_examples=400, deadline=None)
@given(requests(), COOKIES, st.sampled_from(CHANGES), st.sampled_from([OPEN, SETTLED, Limits(address_wait=1)]))
def test_the_judge_is_total_and_forwards_only_what_the_policy_allows(
    request: RequestHead, cookie: str | None, changes: dict[str, Any], limits: Limits
) -> None:
    if cookie is not None:
        request.find[b"cookie"] = cookie.encode("latin-1")
    world = made(changes)

    verdict = world.judge(request, limits)

    if isinstance(verdict, Unknown):
        assert not limits.settled
        return
    assert check(verdict.record) == []
    if not isinstance(verdict, Forward):
        assert verdict.record["sekisho.verdict"] != "forward"
        return
    policy_now = world.view.policy
    assert policy_now is not None
    decision = policy_now.evaluate(facts_of_record(verdict.record))
    assert (decision.effect, decision.rule) == (Effect.ALLOW, verdict.record["rule.id"])
    assert TOKEN in (cookie or "")
    assert request.host == HOST
    assert request.peer.certificate is CERTIFICATE or changes == {"session": {"device_id": None}}
    assert "user" not in changes
    assert limits.address_wait == 0


@settings(max_examples=100, deadline=None)
@given(requests(), COOKIES)
def test_without_any_allow_rule_nothing_passes(request: RequestHead, cookie: str | None) -> None:
    if cookie is not None:
        request.find[b"cookie"] = cookie.encode("latin-1")
    world = World()
    world.view.set_policy(compile_policy(policy(*(rule for rule in RULES if rule.effect is Effect.DENY))), Change(2))

    assert not isinstance(world.judge(request), Forward | StepUp)


@settings(max_examples=100, deadline=None)
@given(requests())
@example(head())
def test_judging_twice_gives_the_same(request: RequestHead) -> None:
    world = World()
    request.find[b"cookie"] = f"__Host-sekisho-app={TOKEN}".encode()

    first, second = told(world.judge(request)), told(world.judge(request))

    assert first == second
    assert told(World().judge(request)) == first
