"""The gate: one pure function from what is known to what happens (design §4).

`judge` reads the view and the values it is given; it has no clock, no randomness, no I/O and never waits. Whatever is
not clearly allowed is refused, and every path that does not end in `Forward` sends nothing to an app.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.gate.case import Case
from gateway.gate.credentials import app_token, digest_of
from gateway.gate.cross_site import is_forged, is_preflight, preflight_headers
from gateway.gate.decision_record import own_bytes
from gateway.gate.instant import instant_of
from gateway.gate.limits import OPEN
from gateway.gate.locks import standing_lock
from gateway.gate.old_paths import exceptions_of
from gateway.gate.own_pages import judge_own_page
from gateway.gate.passage import Passage
from gateway.gate.presence import Absent, app_session_of, device_of
from gateway.gate.route import Place, route
from gateway.gate.standing import Memo, Standing
from gateway.gate.verdict import Forward, Refuse, StepUp, Unknown
from policies.decision import Decision, Effect, Explanation, StepUpNeed
from policies.obligations import SESSION_MAX
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.gate.instant import Instant
    from gateway.gate.limits import Limits
    from gateway.gate.request import Moment, RequestHead
    from gateway.gate.verdict import Verdict
    from gateway.state.records import App
    from gateway.state.view import View
    from policies.compile import CompiledPolicy
    from policies.decision import Obligation


HELP = "help"  # the listener that asks for no certificate, explains certificates and serves nothing else
_ALLOW = Effect.ALLOW  # bound once: looking up a member of an Enum costs more than the comparison
_APP = Place.APP


@dataclass(slots=True)
class Terms:
    """What stays the same for all judgements of one worker. `memo` only saves work: it never changes an answer."""

    portal_host: str
    stale_refuse: float  # seconds without a heartbeat after which nothing new is allowed
    digest_key: bytes = field(repr=False)
    memo: Memo = field(default_factory=Memo)


def judge(view: View, request: RequestHead, moment: Moment, limits: Limits, request_id: str, terms: Terms) -> Verdict:
    """Return what happens with one strictly parsed request.

    Order: limits of the address, freshness of the view, host, own pages, app, session, device, locks, limits of the
    person, cross-site, policy. `limits` is the outcome of the token buckets, not the buckets.
    """
    stale = moment.mono - view.beat_mono > terms.stale_refuse or not view.beat_mono or view.clock_jumped
    if limits is OPEN and not stale:
        standing = terms.memo.shown.get(request.find.get(b"cookie"))
        passage = None if standing is None else standing.passage
        if standing is not None and passage is not None and passage.covers(view, request, moment):
            decides = passage.decides
            decision = decides if type(decides) is Decision else passage.decide(request)
            if decision.effect is _ALLOW and not decision.obligations:
                return _forward(request, moment, request_id, standing, passage.instant, decision, terms.digest_key)
    case = Case(request, moment, request_id, terms.digest_key)
    if limits.address_wait:
        return case.limited(limits.address_wait)
    if request.peer.listener == HELP:
        return case.refuse(403, Reason.CERTIFICATE_HELP)
    if stale:
        return case.refuse(503, Reason.STATE_STALE)
    place, app = route(view, terms.portal_host, request)
    if place is _APP and app is not None:
        case.app = app
        return _judge_app(view, case, app, limits, terms)
    if place is Place.MISDIRECTED:
        return case.refuse(421, Reason.MISDIRECTED)
    if place is Place.UNKNOWN_HOST:
        return case.refuse(404, Reason.UNKNOWN_HOST)
    case.app = app
    if request.upgrade:
        return case.refuse(400, Reason.MALFORMED_REQUEST)  # none of our own pages has a WebSocket
    return judge_own_page(view, case, limits, terms.memo)


def _judge_app(view: View, case: Case, app: App, limits: Limits, terms: Terms) -> Verdict:
    request = case.request
    if request.exceptions != exceptions_of(app):
        return case.refuse(400, Reason.PATH_NOT_CANONICAL)  # the app gained or lost one after the path was read
    if view.locks:
        lock = standing_lock(view, (("app", app.id),), case.moment.wall)
        if lock is not None:
            return case.refuse(403, Reason.APP_LOCKED, lock.message)
    if app.preflight_origins and is_preflight(request):
        headers = preflight_headers(request, app)
        return case.refuse(403, Reason.CROSS_SITE) if headers is None else case.preflight(headers)
    if request.method not in app.methods:
        return case.refuse(405, Reason.METHOD_NOT_ALLOWED)
    standing = _standing(view, case, app, limits, terms)
    if not isinstance(standing, Standing):
        return standing
    if limits.principal_wait:
        return case.limited(limits.principal_wait)
    if is_forged(request, app):
        return case.refuse(403, Reason.CROSS_SITE)
    policy = view.policy
    if policy is None:
        return case.refuse(503, Reason.STATE_STALE)
    return _decide(view, policy, case, standing, terms)


def _standing(view: View, case: Case, app: App, limits: Limits, terms: Terms) -> Standing | Verdict:
    """Return who asks from which device, or the verdict where that is not in order."""
    cookies = case.request.find.get(b"cookie")
    known = terms.memo.shown.get(cookies)
    if known is not None and known.stands(view, case.request, app, case.moment.wall):
        case.standing = known
        return _unlocked(view, case, known) if view.locks else known
    token = app_token(cookies)
    if token is None or cookies is None:
        return case.sign_in(app, Reason.SIGN_IN_REQUIRED)
    token_digest = digest_of(token)
    found = app_session_of(view, token_digest, app, case.request.host, case.moment.wall)
    if isinstance(found, Absent):
        if not found.known and not limits.settled:
            return Unknown(case.request_id, token_digest.hex())
        case.name_ended(view, found)
        return case.sign_in(app, found.reason, found.message)
    app_session, session = found
    user = view.users.get(session.user_id)
    if user is None or user.disabled:
        case.name(session, user)
        return case.refuse(403, Reason.USER_DISABLED)
    device, serial, refusal = device_of(view, case.request.peer.certificate, case.moment.wall)
    standing = terms.memo.standing(token_digest, app_session, session, user, device, app, serial)
    case.standing = standing
    if user.contract_end is not None and user.contract_end <= case.moment.wall:
        return case.refuse(403, Reason.CONTRACT_ENDED)
    if refusal is not None:
        return case.refuse(403, refusal)
    if session.device_id is not None and (device is None or device.id != session.device_id):
        return case.refuse(403, Reason.DEVICE_CHANGED)
    if device is not None and device.owner and device.owner != user.login:
        return case.refuse(403, Reason.DEVICE_OWNER_MISMATCH)
    standing.vouch(view, token_digest, case.request.peer.certificate)
    terms.memo.show(cookies, standing)
    return _unlocked(view, case, standing) if view.locks else standing


def _unlocked(view: View, case: Case, standing: Standing) -> Standing | Refuse:
    """Return the standing, or the refusal of a lock on its session, user, groups or device."""
    lock = standing_lock(view, standing.lock_places, case.moment.wall)
    return standing if lock is None else case.refuse(403, Reason(f"{lock.target}_locked"), lock.message)


def _decide(
    view: View, policy: CompiledPolicy, case: Case, standing: Standing, terms: Terms
) -> Forward | Refuse | StepUp:
    """Ask the policy, from facts that the record keeps exactly as the policy saw them."""
    request, wall = case.request, int(case.moment.wall)
    latest = standing.instant
    instant = instant_of(standing, wall, policy, request.peer, terms.memo)
    asked = {"http.method": request.method, "http.path": request.path_text}
    decision = policy.evaluate(instant.fresh | asked, fresh=True)
    if decision.effect is not _ALLOW:
        return case.deny(decision, policy.explain(instant.facts | asked), instant.zone, instant.recorded)
    if decision.obligations:
        need = session_too_old(decision.obligations, standing, wall)
        if need is not None:
            explanation = Explanation(decision, (decision.rule,), decision.rule, (), "", need, policy.hash)
            return case.deny(decision, explanation, instant.zone, instant.recorded)
    if instant is latest:  # the second request within one second: more will follow
        passage = standing.passage
        if passage is None or not passage.admit(view, instant, request.peer):
            standing.passage = Passage(view, standing, instant, policy, request.peer)
    return _forward(request, case.moment, case.request_id, standing, instant, decision, terms.digest_key)


def session_too_old(obligations: tuple[Obligation, ...], standing: Standing, wall: int) -> StepUpNeed | None:
    """Return the step-up that an allow's `session_max` (seconds since the person last signed in) asks for, or None."""
    session = standing.session
    last = session.created_at if session.mfa_at is None else max(session.created_at, session.mfa_at)
    for obligation in obligations:
        if obligation.name == SESSION_MAX and wall - last >= int(obligation.value):
            return StepUpNeed((), float(obligation.value))
    return None


def _forward(
    request: RequestHead, moment: Moment, request_id: str, standing: Standing, instant: Instant, decision: Decision,
    key: bytes,
) -> Forward:  # fmt: skip
    own = own_bytes(request, moment.wall, request_id, standing.asked, standing.agent, key)
    return Forward(
        request_id, own, standing.app, standing.user, standing.session, standing.app_session.id, standing.device,
        standing.claims, standing.headers, instant.granted(decision), moment,
    )  # fmt: skip
