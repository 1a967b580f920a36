"""What people and programs are told: the form by who asks, the words by reason, always with the 受付番号."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.gate.client_kind import language_of, wants_page
from gateway.gate.limits import Limits
from gateway.gate.reference import shown
from gateway.gate.refusal import Refusals, Told
from gateway.gate.refusal_page import FRAME
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Answer, Forward, Local, Unknown
from gateway.state.records import Device, Session, User
from policies.reasons import Reason
from tests.support.gate_world import DEVICE, HOST, NOW, REQUEST_ID, SESSION, TOKEN, USER, World, head

PORTAL = "https://portal.sekisho.localhost:8443"
STATE = "S" * 43
GOLDEN = Path(__file__).parents[2] / "golden" / "gate"
PAGE: dict[str, Any] = {"Sec_Fetch_Mode": "navigate", "Accept": "text/html", "Accept_Language": "ja"}
XHR: dict[str, Any] = {"Sec_Fetch_Mode": "cors", "Accept": "*/*", "Accept_Language": "en-US,en;q=0.9,ja;q=0.1"}
CONTACT = "情報政策課 内線1234"


def answer(request: RequestHead, world: World | None = None, limits: Limits | None = None) -> Answer:
    world = world or World()
    verdict = world.judge(request, limits or Limits(settled=True))
    assert not isinstance(verdict, Forward | Local | Unknown)
    return Refusals(world.view, PORTAL, "ja", CONTACT, lambda: STATE).answer(verdict, request)


def field(reply: Answer, name: str) -> str:
    return next((value.decode() for key, value in reply.headers if key.lower() == name.lower().encode()), "")


def world_with(table: str, record: User | Session | Device) -> World:
    world = World()
    world.put(table, record.id, record)
    return world


def test_a_page_without_session_goes_to_the_portal_and_comes_back() -> None:
    reply = answer(head(path="/a b".replace(" ", "%20"), query="x=1&y=%E3%81%82", cookie=None, **PAGE))

    assert reply.status == 302
    target = urlsplit(field(reply, "location"))
    assert f"{target.scheme}://{target.netloc}" == PORTAL
    query = parse_qs(target.query)
    assert (target.path, query["app"], query["to"]) == ("/sign-in", [HOST], ["/a%20b?x=1&y=%E3%81%82"])
    cookie = field(reply, "set-cookie")
    assert cookie == f"__Host-sekisho-state={STATE}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"
    assert len(query["state"][0]) == 43
    assert STATE not in field(reply, "location")
    assert field(reply, "cache-control") == "no-store"


def test_a_second_tab_keeps_the_first_tabs_state() -> None:
    kept = "T" * 43
    reply = answer(head(cookie=f"__Host-sekisho-state={kept}", **PAGE))
    assert f"={kept};" in field(reply, "set-cookie")
    broken = answer(head(cookie=f"__Host-sekisho-state={'<' * 43}", **PAGE))
    assert f"={STATE};" in field(broken, "set-cookie")


@pytest.mark.parametrize("extra", [XHR, {"Accept": "application/json"}, {"X_Requested_With": "XMLHttpRequest"}, {}])
def test_programs_get_401_and_never_a_redirect(extra: dict[str, Any]) -> None:
    reply = answer(head(cookie=None, **extra))
    assert reply.status == 401
    assert field(reply, "content-type") == "application/problem+json"
    assert field(reply, "www-authenticate").startswith("Sekisho realm=")
    problem = json.loads(reply.body)
    assert problem["instance"] == f"urn:sekisho:request:{REQUEST_ID}"
    assert (problem["status"], problem["reason"]) == (401, "sign_in_required")


def test_a_socket_without_session_gets_401() -> None:
    assert answer(head(upgrade=True, cookie=None, Sec_Fetch_Mode="websocket")).status == 401
    assert answer(head(upgrade=True, cookie=None, Accept="text/html")).status == 401


def test_a_form_sent_after_the_session_ended_is_not_lost() -> None:
    reply = answer(head("POST", cookie=None, **PAGE))
    assert reply.status == 401
    assert "まだ送信されていません" in reply.body.decode()
    assert 'target="_blank"' in reply.body.decode()
    assert field(reply, "location") == ""


def test_who_was_signed_out_by_an_administrator_reads_why() -> None:
    ended = replace(SESSION, ended_at=NOW, end_reason="session_revoked", end_message="<b>端末を調べます</b>")
    reply = answer(head(**PAGE), world_with("session", ended))
    page = reply.body.decode()
    assert reply.status == 401
    assert "管理者の操作によりサインアウトしました" in page
    assert "&lt;b&gt;端末を調べます" in page
    assert "Max-Age=0" in field(reply, "set-cookie")
    assert "ciso" not in page


def test_who_was_away_too_long_goes_to_the_portal_with_the_reason() -> None:
    ended = replace(SESSION, ended_at=NOW, end_reason="session_idle")
    reply = answer(head(**PAGE), world_with("session", ended))
    assert reply.status == 302
    assert "reason=session_idle" in field(reply, "location")


def test_a_step_up_returns_to_the_same_page_or_follows_rfc_9470() -> None:
    page = answer(head(path="/approve/1", **PAGE))
    assert page.status == 302
    assert field(page, "location").startswith(f"{PORTAL}/step-up?app={HOST}&")
    assert "to=%2Fapprove%2F1" in field(page, "location")
    form = answer(head("POST", path="/approve/1", **PAGE))
    assert form.status == 401
    assert f"{PORTAL}/step-up?" in form.body.decode()
    program = answer(head(path="/approve/1", **XHR))
    assert program.status == 401
    assert 'error="insufficient_user_authentication"' in field(program, "www-authenticate")
    assert 'max_age="300"' in field(program, "www-authenticate")


def test_a_refusal_names_what_to_do_and_no_threshold() -> None:
    world = world_with("device", replace(DEVICE, compliant=False))
    page = answer(head(**PAGE), world).body.decode()
    assert "端末の設定を利用条件に合わせてください" in page
    assert shown(REQUEST_ID) in page
    assert CONTACT in page
    assert "docs-staff" not in page
    problem = json.loads(answer(head(**XHR), world).body)
    assert [item["code"] for item in problem["remediation"]] == ["fix_device"]
    assert problem["contact"] == CONTACT


def test_limits_and_our_own_faults_say_when_to_come_back() -> None:
    limited = answer(head(**XHR), limits=Limits(address_wait=7))
    assert (limited.status, field(limited, "retry-after")) == (429, "9")
    world = World()
    world.view.policy = None
    unhealthy = answer(head(**PAGE), world)
    assert (unhealthy.status, field(unhealthy, "retry-after")) == (503, "6")
    assert field(answer(head("DELETE", **XHR)), "allow") == "GET, HEAD, POST, OPTIONS"


def test_a_registered_origin_can_read_its_refusal() -> None:
    origin = "https://portal.other.example"
    assert field(answer(head(cookie=None, Origin=origin, **XHR)), "access-control-allow-origin") == origin
    assert field(answer(head(cookie=None, Origin="https://evil.example", **XHR)), "access-control-allow-origin") == ""


def test_published_pages_and_texts_are_used_and_cannot_be_broken_by_values() -> None:
    world = world_with("user", replace(USER, disabled=True))
    world.view.pages["refusal.ja"] = "<h1>%%TITLE%%</h1>%%WHAT%%|%%NOTHING%%|%%REFERENCE%%"
    words = {"title": "<停止> %%REFERENCE%%", "what": "w", "do": "d"}
    world.view.pages["texts.ja"] = json.dumps({"user_disabled": words})
    page = answer(head(**PAGE), world).body.decode()
    assert page == f"<h1>&lt;停止&gt; %%REFERENCE%%</h1>w||受付番号: {shown(REQUEST_ID)}"
    world.view.pages["texts.ja"] = "{broken"
    assert "このアカウントは利用できません" in answer(head(**PAGE), world).body.decode()


@pytest.mark.promise("P7.every-reason-explained")
@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words_a_reference_and_a_contact(reason: Reason, language: str) -> None:
    refusals = Refusals(World().view, PORTAL, language, CONTACT)
    told = Told(REQUEST_ID, 403, reason.value)
    page = refusals.tell(told, head(Accept="text/html")).body.decode()
    problem = json.loads(refusals.tell(told, head()).body)
    assert shown(REQUEST_ID) in page
    assert CONTACT in page
    assert f'<html lang="{language}">' in page
    assert problem["title"]
    assert problem["detail"]
    assert bool(re.search("[ぁ-ん]", problem["detail"])) is (language == "ja")
    assert reason.value == problem["reason"]


@pytest.mark.parametrize(("name", "kind"), [("refused.html", PAGE), ("refused.problem.json", XHR)])
def test_the_form_is_pinned(name: str, kind: dict[str, Any]) -> None:
    reply = answer(head(**kind), world_with("device", replace(DEVICE, compliant=False)))
    headers = b"".join(b"%b: %b\n" % pair for pair in reply.headers)
    assert headers + b"\n" + reply.body == (GOLDEN / name).read_bytes()


def test_no_secret_is_told() -> None:
    for request in (head(cookie=None, **PAGE), head(path="/approve/1", **PAGE), head("DELETE", **XHR)):
        reply = answer(request)
        assert TOKEN.encode() not in reply.body + b"".join(value for _, value in reply.headers)
        assert sha256(TOKEN.encode()).hexdigest().encode() not in reply.body


@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ({"Sec_Fetch_Mode": "navigate", "Accept": "*/*"}, True),
        ({"Sec_Fetch_Mode": "cors", "Accept": "text/html"}, False),
        ({"Accept": "text/html,application/xhtml+xml"}, True),
        ({"Accept": "text/html", "X_Requested_With": "XMLHttpRequest"}, False),
        ({"Accept": "application/json"}, False),
        ({}, False),
    ],
)
def test_pages_are_for_people(headers: dict[str, Any], page: bool) -> None:
    assert wants_page(head(**headers)) is page


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ("en", "ja", "en"), ("", "ja-JP,en;q=0.5", "ja"), ("", "en-GB", "en"), ("", "fr,de", "ja"), ("", "", "ja"),
        ("", "ja;q=0.1,en;q=0.9", "en"), ("", "en;q=0", "ja"), ("", "en;q=x", "ja"), ("xx", "en", "en"),
    ],
)  # fmt: skip
def test_language(chosen: str, accepted: str, language: str) -> None:
    assert language_of(head(Accept_Language=accepted).find, chosen, "ja") == language


def test_the_built_in_frame_has_every_slot_people_need() -> None:
    assert {"TITLE", "WHAT", "DO", "REFERENCE", "CONTACT"} <= set(re.findall("%%([A-Z]+)%%", FRAME))
