"""From a verdict that is not forwarded to the answer that explains it (promise P7).

People get a page that says what happened, what to do and whom to ask; programs get `application/problem+json`
(RFC 9457) and never a redirect. Both carry the 受付番号. Nothing here decides: the verdict is final.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import orjson

from gateway.gate.client_kind import Signs, language_of, shown_to_person, wants_page
from gateway.gate.credentials import APP_COOKIE, STATE_COOKIE, state_token
from gateway.gate.cross_site import allow_origin, is_known_origin
from gateway.gate.headers import METHODS
from gateway.gate.reference import shown
from gateway.gate.refusal_page import Link, PageContent, render
from gateway.gate.refusal_texts import Texts, counsel
from gateway.gate.retry_after import retry_after
from gateway.gate.route import OWN_PATH
from gateway.gate.verdict import Answer, Limited, Preflight, Refuse, SignIn, StepUp

if TYPE_CHECKING:
    from gateway.gate.request import RequestHead
    from gateway.state.records import App
    from gateway.state.view import View
    from policies.decision import StepUpNeed

Headers = tuple[tuple[bytes, bytes], ...]

_POLICY_NAME = b"Content-Security-Policy"
_POLICY = (  # of answers without control's frame
    b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_COMMON: Headers = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"same-origin"),
    (_POLICY_NAME, _POLICY),
)
_PROBLEM = (b"Content-Type", b"application/problem+json")
_PAGE = (b"Content-Type", b"text/html; charset=utf-8")
_DEAD_SESSION = APP_COOKIE + b"=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
_EXPLAINED_ENDS = frozenset({"session_revoked"})  # an end that people must read about before they sign in again
_STATE_SECONDS = 600
_LONGEST_RETURN = 4096  # a longer address comes back to the front page: redirects must fit everywhere
# RFC 6455 §4.4: a version that is not known is answered with the one that is.
_WEBSOCKET = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13"))
_RECHECKABLE = frozenset({"denied_by_rule", "unmet_conditions", "no_applicable_rule", "state_stale", "app_unreachable",
                          "app_timed_out", "journal_unhealthy", "device_changed", "overloaded"})  # fmt: skip

_REMEDIES = {"certificate_help": ("certificate_choose", "certificate_refused", "certificate_missing")}
_BY_APP = frozenset({"app_unreachable", "app_timed_out", "app_answer_invalid"})
_BY_FACTS = frozenset({"denied_by_rule", "unmet_conditions", "no_applicable_rule"})


@dataclass(frozen=True, slots=True)
class Told:
    """What one refusal says, before it takes the form of a page or of a problem."""

    request_id: str
    status: int
    reason: str
    app: App | None = None
    language: str = ""  # the person's choice
    message: str = ""
    remedies: Sequence[str] = ()  # remediation codes
    advice: Sequence[str] = ()  # the rules' own words
    words: str = ""  # key of the words, "" = the reason's own
    links: Sequence[Link] = ()
    extra: Headers = ()
    signs: Signs | None = None  # of a client whose message never became a request


class Refusals:
    """Writes the answers of one worker. Reads the view's pages at each answer, so new ones count at once."""

    def __init__(
        self,
        view: View,
        portal_origin: str,
        default_language: str,
        contact: str,
        new_state: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        """`contact` says whom to ask; `new_state` makes a state cookie: 43 characters that nobody can guess."""
        self._view = view
        self._portal = portal_origin
        self._default = default_language
        self._contact = contact
        self._new_state = new_state

    def answer(self, verdict: Refuse | SignIn | StepUp | Limited | Preflight, request: RequestHead | None) -> Answer:
        """Return the answer to a verdict."""
        match verdict:
            case Refuse():
                answer = self._refuse(verdict, request)
                return Answer(answer.status, answer.headers, answer.body, close=True) if verdict.close else answer
            case SignIn():
                return self._sign_in(verdict, request)
            case StepUp():
                return self._step_up(verdict, request)
            case Limited():
                wait = str(verdict.retry_after).encode()
                told = Told(verdict.request_id, 429, "rate_limited", extra=((b"Retry-After", wait),))
                return self.tell(told, request)
            case Preflight():
                return Answer(204, ((b"Cache-Control", b"no-store"), *verdict.headers), b"")

    def _refuse(self, verdict: Refuse, request: RequestHead | None) -> Answer:
        extra: list[tuple[bytes, bytes]] = []
        if verdict.status == 503:
            extra.append(later(verdict.wait, verdict.request_id))
        if verdict.status == 405:  # RFC 9110 §15.5.6; of what never became a request no app is known
            allowed = sorted(METHODS) if verdict.app is None else [each.encode("ascii") for each in verdict.app.methods]
            extra.append((b"Allow", b", ".join(allowed)))
        if verdict.status == 426:
            extra.extend(_WEBSOCKET)
        advice, remedies = counsel(verdict.explanation)
        told = Told(
            verdict.request_id, verdict.status, verdict.reason, verdict.app,
            verdict.user.language if verdict.user is not None else "", verdict.message,
            _REMEDIES.get(verdict.reason) or remedies, advice, extra=tuple(extra), signs=verdict.signs,
        )  # fmt: skip
        return self.tell(told, request)

    def _sign_in(self, verdict: SignIn, request: RequestHead | None) -> Answer:
        realm = f'Sekisho realm="{verdict.app.hosts[0]}", sign_in="{self._portal}/"'.encode("ascii")
        told = Told(
            verdict.request_id, 401, verdict.reason, verdict.app, message=verdict.message,
            extra=((b"WWW-Authenticate", realm),),
        )  # fmt: skip
        if request is None or not wants_page(request):
            return self.tell(told, request)
        clear: Headers = () if verdict.reason == "sign_in_required" else ((b"Set-Cookie", _DEAD_SESSION),)
        texts = self._texts(request.find, "")
        if request.method not in {"GET", "HEAD"}:
            link = Link(texts.label("sign_in"), "/", new_tab=True)
            words = "" if verdict.reason in _EXPLAINED_ENDS else "unsent"
            return self.tell(_with(told, words, (link,), ()), request)
        if verdict.reason in _EXPLAINED_ENDS:
            link = Link(texts.label("sign_in"), verdict.return_to)
            return self.tell(_with(told, "", (link,), clear), request)
        query: dict[str, str] = {}
        if verdict.reason != "sign_in_required":
            query["reason"] = verdict.reason
        return self._to_portal("/sign-in", verdict.return_to, request, clear, query, verdict.request_id)

    def _step_up(self, verdict: StepUp, request: RequestHead | None) -> Answer:
        query = _step_up_query(verdict.need)
        if request is not None and wants_page(request):
            if request.method in {"GET", "HEAD"}:
                return self._to_portal("/step-up", verdict.return_to, request, (), query, verdict.request_id)
            address = f"{self._portal}/step-up?{urlencode({'app': request.host, 'to': '/', **query})}"
            link = Link(self._texts(request.find, verdict.user.language).label("step_up"), address, new_tab=True)
            links: tuple[Link, ...] = (link,)
        else:
            links = ()
        told = Told(
            verdict.request_id, 401, "step_up_required", verdict.app, verdict.user.language, links=links,
            remedies=("step_up_mfa",), extra=((b"WWW-Authenticate", _challenge(verdict.need)),),
        )  # fmt: skip
        return self.tell(told, request)

    def _to_portal(
        self, page: str, return_to: str, request: RequestHead, clear: Headers, query: dict[str, str], request_id: str
    ) -> Answer:
        """Send the browser to the portal; a state cookie here ties what comes back to this browser (RFC 6749 §10.12).

        A state that the browser already holds is used again, so that two tabs do not break each other.
        """
        kept = state_token(request.find.get(b"cookie"))
        state = kept if kept is not None else self._new_state().encode("ascii")
        digest = urlsafe_b64encode(sha256(state).digest()).rstrip(b"=").decode("ascii")
        to = return_to if len(return_to) <= _LONGEST_RETURN else "/"
        address = f"{self._portal}{page}?{urlencode({'app': request.host, 'state': digest, 'to': to, **query})}"
        cookie = b"%b=%b; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=%d" % (STATE_COOKIE, state, _STATE_SECONDS)
        headers = (
            *_COMMON, *clear, (b"Set-Cookie", cookie), (b"Location", address.encode("ascii")),
            (b"X-Sekisho-Request-Id", request_id.encode()),
        )  # fmt: skip
        return Answer(302, headers, b"")

    def tell(self, told: Told, request: RequestHead | None) -> Answer:
        """Return the refusal as a page or as a problem, whichever the client can read."""
        common = (*_COMMON, (b"X-Sekisho-Request-Id", told.request_id.encode()), *told.extra)
        if wants_page(request) if request is not None else told.signs is None or shown_to_person(told.signs):
            published = self._view.pages.get("refusal.csp", "").encode("ascii")  # names the frame's own style
            if published:
                common = tuple((name, published if name == _POLICY_NAME else value) for name, value in common)
            return Answer(told.status, (_PAGE, *common), self._page(told, request))
        origin = None if request is None else request.find.get(b"origin")
        if origin is not None and told.app is not None and is_known_origin(told.app, origin):
            common += allow_origin(origin)
        return Answer(told.status, (_PROBLEM, *common), self._problem(told, request))

    def _texts(self, signs: Signs | None, chosen: str) -> Texts:
        language = language_of(signs, chosen, self._default)
        return Texts(language, self._view.pages.get(f"texts.{language}", ""))

    def _whom_to_ask(self, told: Told) -> str:
        """Return the contact of the app where it is the app that fails, else the installation's."""
        own = told.app.contact if told.app is not None and told.reason in _BY_APP else ""
        return own or self._contact

    def _page(self, told: Told, request: RequestHead | None) -> bytes:
        texts = self._texts(told.signs if request is None else request.find, told.language)
        language = texts.language
        words = texts.words(told.words or told.reason)
        links = list(told.links)
        if request is not None and told.reason in _RECHECKABLE and request.method in {"GET", "HEAD"}:
            links.append(Link(texts.label("again"), _again(told.reason, request)))
        if told.status != 421:
            links.append(Link(texts.label("home"), f"{self._portal}/"))
        details = [*told.advice, *filter(None, (texts.remedy(code) for code in told.remedies))]
        content = PageContent(
            language, told.reason, words.title, words.what, words.do,
            f"{texts.label('reference')}: {shown(told.request_id)}",
            f"{texts.label('contact')}: {self._whom_to_ask(told)}",
            f"{texts.label('from')}: {told.message}" if told.message else "", details, links,
        )  # fmt: skip
        return render(self._view.pages.get(f"refusal.{language}", ""), content)

    def _problem(self, told: Told, request: RequestHead | None) -> bytes:
        texts = self._texts(told.signs if request is None else request.find, told.language)
        words = texts.words(told.reason)
        problem: dict[str, object] = {
            "type": f"urn:sekisho:reason:{told.reason}",
            "title": words.title,
            "status": told.status,
            "detail": f"{words.what}{words.do}" if texts.language == "ja" else f"{words.what} {words.do}",
            "instance": f"urn:sekisho:request:{told.request_id}",
            "reason": told.reason,
            "reference": shown(told.request_id),
            "contact": self._whom_to_ask(told),
            "remediation": [
                *({"code": "advice", "text": text} for text in told.advice),
                *({"code": code, "text": texts.remedy(code)} for code in told.remedies),
            ],
        }
        if told.message:
            problem["message"] = told.message
        if HTTPStatus(told.status) is HTTPStatus.UNAUTHORIZED:
            problem["sign_in"] = f"{self._portal}/"
        return orjson.dumps(problem)


def later(wait: float, request_id: str) -> tuple[bytes, bytes]:
    """Return the field that says when to come back; `wait` in seconds, 0 = not known."""
    return b"Retry-After", b"%d" % retry_after(wait, request_id)


def _again(reason: str, request: RequestHead) -> str:
    """Return where to try again: past a fresh look at the device, where the refusal may come from its state."""
    target = request.target.decode("ascii", "replace")
    if reason not in _BY_FACTS or len(target) > _LONGEST_RETURN:
        return target
    return f"{OWN_PATH.decode()}/recheck?{urlencode({'to': target})}"


def _with(told: Told, words: str, links: tuple[Link, ...], headers: Headers) -> Told:
    return Told(
        told.request_id, told.status, told.reason, told.app, told.language, told.message, told.remedies, told.advice,
        words, links, (*told.extra, *headers), told.signs,
    )  # fmt: skip


def _step_up_query(need: StepUpNeed) -> dict[str, str]:
    query: dict[str, str] = {}
    if need.methods:
        query["method"] = "passkey" if need.methods[0] == "webauthn" else need.methods[0]
    if need.max_age is not None:
        query["max_age"] = str(int(need.max_age))
    return query


def _challenge(need: StepUpNeed) -> bytes:
    """Return the challenge of RFC 9470 §3."""
    challenge = (
        'Bearer error="insufficient_user_authentication", '
        'error_description="A more recent or stronger authentication is required", acr_values="urn:sekisho:aal2"'
    )
    if need.max_age is not None:
        challenge += f', max_age="{int(need.max_age)}"'
    return challenge.encode("ascii")
