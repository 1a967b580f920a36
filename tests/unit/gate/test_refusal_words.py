"""The built-in words and the exact answers around them: every field a browser or a program is given."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.gate.refusal import Refusals, Told
from gateway.gate.refusal_page import FRAME, Link, PageContent, render
from gateway.gate.refusal_texts import BUILT_IN, LABELS, LANGUAGES, REMEDIES, Texts, counsel
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Answer, Limited, Preflight, Refuse, SignIn, StepUp
from policies.catalogue import CATALOGUE
from policies.decision import Decision, Effect, Explanation, StepUpNeed, Unmet
from policies.reasons import Reason
from tests.support.gate_world import APP, HOST, REQUEST_ID, USER, World, head

PORTAL = "https://portal.sekisho.localhost:8443"
STATE = "S" * 43
PAGE: dict[str, Any] = {"Sec_Fetch_Mode": "navigate", "Accept_Language": "ja"}
XHR: dict[str, Any] = {"Sec_Fetch_Mode": "cors", "Accept_Language": "en"}
POLICY = (
    b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
COMMON = (
    (b"Cache-Control", b"no-store"), (b"X-Content-Type-Options", b"nosniff"), (b"Referrer-Policy", b"same-origin"),
    (b"Content-Security-Policy", POLICY),
)  # fmt: skip
NUMBER = (b"X-Sekisho-Request-Id", REQUEST_ID.encode())
HTML = (b"Content-Type", b"text/html; charset=utf-8")
PROBLEM = (b"Content-Type", b"application/problem+json")
STATE_COOKIE = (
    b"Set-Cookie",
    f"__Host-sekisho-state={STATE}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600".encode(),
)
DEAD = (b"Set-Cookie", b"__Host-sekisho-app=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
REALM = (b"WWW-Authenticate", f'Sekisho realm="{HOST}", sign_in="{PORTAL}/"'.encode())
CHALLENGE = (
    b'Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication '
    b'is required", acr_values="urn:sekisho:aal2"'
)
Verdict = Refuse | SignIn | StepUp | Limited | Preflight


def answer(verdict: Verdict, request: RequestHead | None, world: World | None = None) -> Answer:
    refusals = Refusals((world or World()).view, PORTAL, "ja", "内線1", lambda: STATE)
    return refusals.answer(verdict, request)


def links(reply: Answer) -> list[tuple[str, str, bool]]:
    found = re.findall(r'<a href="([^"]*)"( target="_blank" rel="noopener")?>([^<]*)</a>', reply.body.decode())
    return [(text, address.replace("&amp;", "&"), bool(tab)) for address, tab, text in found]


def sign_in(reason: str = "sign_in_required", to: str = "/x?y=1") -> SignIn:
    return SignIn(REQUEST_ID, {}, APP, to, reason, "")


def step_up(*methods: str, max_age: float | None = None) -> StepUp:
    return StepUp(REQUEST_ID, {}, APP, USER, StepUpNeed(methods, max_age), "/x")


# --- words

SENTENCE = {"ja": re.compile(r"[^\x00-\x1f]+。"), "en": re.compile(r"[A-Z][ -~]*\.")}
HEADING = {"ja": re.compile(r"[ぁ-んァ-ヶ一-龠ー]+"), "en": re.compile(r"[A-Z][A-Za-z -]*[a-z]")}


@pytest.mark.parametrize("language", ["ja", "en"])
def test_built_in_words_are_headings_and_whole_sentences(language: str) -> None:
    assert LANGUAGES == ("ja", "en")
    for words in BUILT_IN[language].values():
        assert HEADING[language].fullmatch(words.title), words.title
        assert SENTENCE[language].fullmatch(words.what), words.what
        assert SENTENCE[language].fullmatch(words.do), words.do
    for text in REMEDIES[language].values():
        assert SENTENCE[language].fullmatch(text), text
    for text in LABELS[language].values():
        assert HEADING[language].fullmatch(text), text
    assert [LABELS[each].keys() for each in LANGUAGES] == [LABELS["ja"].keys()] * 2
    assert [BUILT_IN[each].keys() for each in LANGUAGES] == [BUILT_IN["ja"].keys()] * 2


KINDS = {
    "sign_in": "sign_in_required session_ended session_expired session_idle session_replaced signed_out",
    "session_revoked": "session_revoked", "step_up": "step_up_required", "unsent": "unsent",
    "locked": "user_locked device_locked session_locked group_locked app_locked",
    "account": "user_disabled contract_ended",
    "device": "device_unknown device_certificate_revoked device_owner_mismatch device_changed",
    "certificate": "certificate_help",
    "policy": "denied_by_rule unmet_conditions no_applicable_rule not_permitted",
    "busy": "rate_limited overloaded",
    "unavailable": "device_certificate_unchecked journal_unhealthy state_stale control_unavailable internal_error",
    "app": "app_unreachable app_timed_out app_answer_invalid", "host": "unknown_host misdirected",
}  # fmt: skip


@pytest.mark.parametrize("language", ["ja", "en"])
def test_each_reason_is_told_in_the_words_of_its_kind(language: str) -> None:
    texts = Texts(language, "")
    kind_of = {reason: kind for kind, reasons in KINDS.items() for reason in reasons.split()}
    assert BUILT_IN[language].keys() == {*KINDS, "request"}
    for reason in {*kind_of, *(reason.value for reason in Reason)}:
        assert texts.words(reason) == BUILT_IN[language][kind_of.get(reason, "request")]


def test_each_remedy_that_a_policy_may_name_has_words() -> None:
    named = {attribute.remediation for attribute in CATALOGUE.values() if attribute.remediation}
    named |= {"certificate_choose", "certificate_refused", "certificate_missing", "step_up_mfa"}
    for language in LANGUAGES:
        assert named <= REMEDIES[language].keys()
        assert REMEDIES[language].keys() == REMEDIES["ja"].keys()
        assert Texts(language, "").remedy("nobody_knows") == ""


def test_what_control_publishes_goes_before_the_built_in_words() -> None:
    told = {
        "app_locked": {"title": "T", "what": "", "do": ""}, "user_locked": {"title": 1, "what": "W", "do": 2},
        "rate_limited": "broken", "remedy.fix_device": "R", "remedy.update_os": 3, "label.home": "H", "label.again": 4,
    }  # fmt: skip
    texts = Texts("en", json.dumps(told))
    locked = BUILT_IN["en"]["locked"]
    assert (texts.words("app_locked").title, texts.words("app_locked").what) == ("T", locked.what)
    assert texts.words("app_locked").do == ""
    assert texts.words("user_locked") == replace(locked, what="W")
    assert texts.words("rate_limited") == BUILT_IN["en"]["busy"]
    assert (texts.remedy("fix_device"), texts.remedy("update_os")) == ("R", REMEDIES["en"]["update_os"])
    assert (texts.label("home"), texts.label("again")) == ("H", "Check again")
    assert Texts("en", "[1]").words("app_locked") == locked


def unmet(attribute: str, actual: str | None, remediation: str, advice: str) -> Unmet:
    return Unmet(attribute, "is", "true", actual, remediation, True, advice)


def test_counsel_speaks_once_of_each_thing() -> None:
    assert counsel(None) == ((), ())
    decision = Decision(Effect.DENY, Reason.UNMET_CONDITIONS, "")
    conditions = (
        unmet("net.zone", None, "move_zone", "A"), unmet("time.of_day", "1", "move_zone", ""),
        unmet("mfa.age", "1", "step_up_mfa", ""), unmet("auth.age", "1", "step_up_mfa", ""),
        unmet("device.known", "true", "", "A"),
    )  # fmt: skip
    assert counsel(Explanation(decision, (), "", conditions, "B", None, "")) == (("A", "B"), ("step_up_mfa",))
    unknown = (
        unmet("device.known", "false", "a", ""), unmet("device.os", "x", "b", ""), unmet("device.os", None, "c", ""),
        unmet("posture.read_age", None, "d", ""), unmet("net.zone", None, "e", ""),
    )  # fmt: skip
    assert counsel(Explanation(decision, (), "", unknown, "", None, "")) == ((), ("a", "b", "e"))


# --- pages


def test_the_page_fills_each_slot_once_and_escapes() -> None:
    frame = "|".join(
        f"%%{name}%%"
        for name in ["LANGUAGE", "REASON", "TITLE", "WHAT", "DO", "CONTACT", "REFERENCE", "MESSAGE", "DETAILS"]
    )
    content = PageContent("ja", "r<", "t<", "w<", "d<", "n<", "c<", "m<", ["x<", "y"], [])
    lt = "&lt;"
    assert render(frame + "%%ACTIONS%%", content).decode() == (
        f"ja|r{lt}|t{lt}|w{lt}|d{lt}|c{lt}|n{lt}|<p>m{lt}</p>|<ul><li>x{lt}</li><li>y</li></ul>"
    )
    assert render("%%MESSAGE%%%%DETAILS%%|", replace(content, message="", details=[])) == b"|"
    actions = [Link("a<", "/?a&b"), Link("b", "/", new_tab=True)]
    assert render("%%ACTIONS%%", replace(content, links=actions)).decode() == (
        '<ul><li><a href="/?a&amp;b">a&lt;</a></li><li><a href="/" target="_blank" rel="noopener">b</a></li></ul>'
    )
    assert render("", content).startswith(FRAME[:20].encode())
    assert Link("a", "/").new_tab is False


# --- answers


def test_signing_in_begins_at_the_portal() -> None:
    reply = answer(sign_in(), head(cookie=None, **PAGE))
    location = dict(reply.headers)[b"Location"].decode()
    assert reply.headers == (*COMMON, STATE_COOKIE, (b"Location", location.encode()), NUMBER)
    digest = urlsafe_b64encode(sha256(STATE.encode()).digest()).rstrip(b"=").decode()
    assert (reply.status, reply.body, reply.close) == (302, b"", False)
    assert location.startswith(f"{PORTAL}/sign-in?")
    assert parse_qs(urlsplit(location).query) == {"app": [HOST], "state": [digest], "to": ["/x?y=1"]}
    over = answer(sign_in("session_idle"), head("HEAD", cookie=None, **PAGE))
    assert over.headers[4:6] == (DEAD, STATE_COOKIE)
    query = parse_qs(urlsplit(dict(over.headers)[b"Location"].decode()).query)
    assert query["reason"] == ["session_idle"]
    for length, to in ((4096, "/" + "a" * 4095), (4097, "/")):
        location = dict(answer(sign_in(to="/" + "a" * (length - 1)), head(**PAGE)).headers)[b"Location"].decode()
        assert parse_qs(urlsplit(location).query)["to"] == [to]


def test_signing_in_that_cannot_be_a_redirect() -> None:
    program = answer(sign_in(), head(cookie=None, **XHR))
    assert (program.status, program.headers) == (401, (PROBLEM, *COMMON, NUMBER, REALM))
    problem = json.loads(program.body)
    assert problem["sign_in"] == f"{PORTAL}/"
    assert problem["detail"] == "Your sign-in is over. Sign in using a new tab."
    assert answer(sign_in(), None).headers == (HTML, *COMMON, NUMBER, REALM)
    form = answer(sign_in(), head("POST", **PAGE))
    assert (form.status, form.headers) == (401, (HTML, *COMMON, NUMBER, REALM))
    assert links(form) == [("サインインする", "/", True), ("アプリの一覧へ", f"{PORTAL}/", False)]
    revoked = answer(replace(sign_in("session_revoked"), message="端末を調べます"), head(**PAGE))
    assert revoked.headers == (HTML, *COMMON, NUMBER, REALM, DEAD)
    assert links(revoked)[0] == ("サインインする", "/x?y=1", False)
    assert "担当者からの連絡: 端末を調べます" in revoked.body.decode()
    lost = answer(sign_in("session_revoked"), head("POST", **PAGE)).body.decode()
    assert "管理者の操作によりサインアウトしました。" in lost
    assert "担当者からの連絡" not in lost


@pytest.mark.parametrize(
    ("verdict", "query", "challenge"),
    [
        (step_up(), {}, b""),
        (step_up("webauthn", "totp"), {"method": ["passkey"]}, b""),
        (step_up("totp", max_age=300.9), {"method": ["totp"], "max_age": ["300"]}, b', max_age="300"'),
    ],
)
def test_a_step_up_says_which_factor_and_how_fresh(verdict: StepUp, query: Any, challenge: bytes) -> None:
    page = answer(verdict, head(**PAGE))
    location = urlsplit(dict(page.headers)[b"Location"].decode())
    asked = parse_qs(location.query)
    assert location.path == "/step-up"
    assert {name: value for name, value in asked.items() if name != "state"} == {"app": [HOST], "to": ["/x"], **query}
    assert page.headers[4] == STATE_COOKIE
    program = answer(verdict, head(**XHR))
    told = (b"WWW-Authenticate", CHALLENGE + challenge)
    assert (program.status, program.headers) == (401, (PROBLEM, *COMMON, NUMBER, told))
    problem = json.loads(program.body)
    assert (problem["reason"], [each["code"] for each in problem["remediation"]]) == (
        "step_up_required",
        ["step_up_mfa"],
    )
    assert links(answer(verdict, None)) == [("アプリの一覧へ", f"{PORTAL}/", False)]
    form = answer(replace(verdict, user=replace(USER, language="en")), head("POST", **PAGE))
    text, address, new_tab = links(form)[0]
    assert (text, new_tab, address.partition("?")[0]) == ("Confirm", True, f"{PORTAL}/step-up")
    assert parse_qs(urlsplit(address).query) == {"app": [HOST], "to": ["/"], **query}


def test_refusals_carry_the_fields_of_their_status() -> None:
    def refused(status: int, reason: str, **parts: Any) -> Answer:
        return answer(Refuse(REQUEST_ID, {}, status, reason, **parts), head(**XHR))

    assert refused(403, "app_locked").headers == (PROBLEM, *COMMON, NUMBER)
    assert refused(503, "state_stale").headers == (PROBLEM, *COMMON, NUMBER, (b"Retry-After", b"6"))
    waits = (PROBLEM, *COMMON, NUMBER, (b"Retry-After", b"14"))
    assert refused(503, "overloaded", wait=10.2).headers == waits
    allow = (b"Allow", b"GET, HEAD, POST, OPTIONS")
    assert refused(405, "method_not_allowed", app=APP).headers == (PROBLEM, *COMMON, NUMBER, allow)
    known = (b"Allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
    assert refused(405, "method_not_allowed").headers == (PROBLEM, *COMMON, NUMBER, known)
    assert (refused(400, "too_large").close, refused(400, "too_large", close=True).close) == (False, True)
    closed = refused(400, "too_large", close=True)
    assert (closed.status, closed.headers) == (400, (PROBLEM, *COMMON, NUMBER))
    assert json.loads(closed.body)["reason"] == "too_large"
    limited = answer(Limited(REQUEST_ID, {}, 7), head(**XHR))
    assert (limited.status, limited.headers) == (429, (PROBLEM, *COMMON, NUMBER, (b"Retry-After", b"7")))
    assert json.loads(limited.body)["reason"] == "rate_limited"
    preflight = answer(Preflight(REQUEST_ID, {}, ((b"A", b"b"),)), head())
    assert (preflight.status, preflight.headers, preflight.body) == (
        204, ((b"Cache-Control", b"no-store"), (b"A", b"b")), b"",
    )  # fmt: skip


def test_a_problem_is_whole() -> None:
    told = Told(REQUEST_ID, 403, "app_locked", APP, "en", "M", ("fix_device",), ("A",))
    reply = Refusals(World().view, PORTAL, "ja", "内線1").tell(told, head(Origin="https://portal.other.example"))
    assert json.loads(reply.body) == {
        "type": "urn:sekisho:reason:app_locked", "title": "Access is stopped", "status": 403,
        "detail": "An administrator has stopped this for now. If this is unexpected or urgent, contact the help desk "
        "with the reference number.", "instance": f"urn:sekisho:request:{REQUEST_ID}", "reason": "app_locked",
        "reference": "1M32-50V3-V9A9-YSQG", "contact": "内線1", "message": "M",
        "remediation": [
            {"code": "advice", "text": "A"},
            {"code": "fix_device", "text": "Bring the device's settings in line with the conditions of use."},
        ],
    }  # fmt: skip
    assert reply.headers == (
        PROBLEM, *COMMON, NUMBER, (b"Access-Control-Allow-Origin", b"https://portal.other.example"),
        (b"Access-Control-Allow-Credentials", b"true"), (b"Vary", b"Origin"),
    )  # fmt: skip
    japanese = Refusals(World().view, PORTAL, "ja", "").tell(replace(told, language="", message=""), head())
    problem = json.loads(japanese.body)
    assert problem["detail"].startswith("管理者の操作により、現在は利用できません。心当たりが")
    assert "message" not in problem


RECHECKED = {"denied_by_rule", "unmet_conditions", "no_applicable_rule"}
RETRIED = {*RECHECKED, "state_stale", "app_unreachable", "app_timed_out", "journal_unhealthy", "device_changed",
           "overloaded"}  # fmt: skip


@pytest.mark.parametrize("reason", [reason.value for reason in Reason])
def test_where_a_page_leads(reason: str) -> None:
    def told(request: RequestHead | None, status: int = 403) -> list[tuple[str, str, bool]]:
        return links(Refusals(World().view, PORTAL, "ja", "").tell(Told(REQUEST_ID, status, reason), request))

    home = ("アプリの一覧へ", f"{PORTAL}/", False)
    address = "/.sekisho/recheck?to=%2Fa%3Fb" if reason in RECHECKED else "/a?b"
    again = [("再確認", address, False)] if reason in RETRIED else []
    for method in ("GET", "HEAD"):
        assert told(head(method, path="/a", query="b", **PAGE)) == [*again, home]
    assert told(head("POST", path="/a", **PAGE)) == told(None) == [home]
    assert told(head("POST", **PAGE), 421) == []
    if reason in RECHECKED:
        assert told(head(path="/" + "a" * 4095, **PAGE))[0][1].startswith("/.sekisho/recheck?")
        assert told(head(path="/" + "a" * 4096, **PAGE))[0][1] == "/" + "a" * 4096


def test_published_style_is_allowed_on_pages_alone() -> None:
    world = World()
    world.view.pages["refusal.csp"] = "style-src 'sha256-x'"
    refuse = Refuse(REQUEST_ID, {}, 403, "certificate_help")
    page = answer(refuse, head(**PAGE), world)
    assert dict(page.headers)[b"Content-Security-Policy"] == b"style-src 'sha256-x'"
    assert [name for name, _ in page.headers] == [HTML[0], *(name for name, _ in COMMON), NUMBER[0]]
    assert dict(answer(refuse, head(**XHR), world).headers)[b"Content-Security-Policy"] == POLICY
    told = re.findall("<li>([^<]*)</li>", page.body.decode())
    assert told == [REMEDIES["ja"][f"certificate_{each}"] for each in ("choose", "refused", "missing")]


def test_a_state_nobody_can_guess_is_made_where_none_is_given() -> None:
    refusals = Refusals(World().view, PORTAL, "ja", "")
    cookies = {dict(refusals.answer(sign_in(), head(**PAGE)).headers)[b"Set-Cookie"] for _ in range(2)}
    assert len(cookies) == 2
    assert all(re.match(rb"__Host-sekisho-state=[A-Za-z0-9_-]{43};", cookie) for cookie in cookies)
