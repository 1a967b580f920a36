"""Sign-in: id and password, second factor; or a passkey alone. Then on to where the person wanted to go."""

from __future__ import annotations

from aiohttp import web

from gateway.identity import passkeys
from gateway.identity.authentication import SignInRefused, verify_first, verify_passkey, verify_totp
from gateway.portal import destinations, handover
from gateway.portal.arrival import context_of
from gateway.portal.destinations import Destination
from gateway.portal.entrance import FLOWS, admit, admit_after_clearing, flow_of, put_pending
from gateway.portal.flows import Flow
from gateway.portal.forms import ForgedForm, check_origin, read_form
from gateway.portal.pages import arrival, go, page
from policies.reasons import Reason

_TOLD = frozenset({
    Reason.SESSION_ENDED, Reason.SESSION_EXPIRED, Reason.SESSION_IDLE, Reason.SESSION_REPLACED, Reason.SESSION_REVOKED,
    Reason.SIGNED_OUT, Reason.USER_DISABLED, Reason.CONTRACT_ENDED, Reason.DEVICE_CHANGED, Reason.DEVICE_OWNER_MISMATCH,
    Reason.USER_LOCKED, Reason.GROUP_LOCKED, Reason.DEVICE_LOCKED, Reason.SESSION_LOCKED,
})  # fmt: skip
REFUSED = 422  # one status for every wrong attempt, so that it tells nothing


async def show(request: web.Request) -> web.Response:
    """The sign-in page; who is signed in already goes on to where they wanted."""
    destination = destinations.read(context_of(request), request.query)
    signed_in = arrival(request).signed_in
    if signed_in is not None:
        return await handover.send(request, signed_in[0], destination)
    return _form(request, flow_of(request), destination, why=_why(request))


def _why(request: web.Request) -> Reason | None:
    """Why the person has to sign in: what the app host's gate said, else what became of this browser's session."""
    said = request.query.get("reason", "") or arrival(request).absence
    return Reason(said) if said in _TOLD else None


async def take_password(request: web.Request) -> web.Response:
    """First step. Right or wrong, the answer takes as long; wrong is always the same page."""
    flow, fields = await _posted(request)
    context, destination = context_of(request), destinations.read(context_of(request), fields)
    try:
        first = await verify_first(
            context, fields.get("login", ""), fields.get("password", ""), arrival(request).source
        )
    except SignInRefused as refused:
        return _form(request, flow, destination, refused, login=fields.get("login", ""))
    if not first.methods:
        return page(request, "no_second_factor.html", status=REFUSED)
    flow.first = first
    response = go(f"/sign-in/second?{destination.query()}")
    put_pending(response, request.app[FLOWS].renew(flow, context.clock()))
    return response


async def show_second(request: web.Request) -> web.Response:
    """The second step: the person's best method first, the other one a link away."""
    flow = flow_of(request)
    destination = destinations.read(context_of(request), request.query)
    if flow is None or flow.first is None:
        return go(f"/sign-in?{destination.query()}")
    return _second(request, flow, destination, request.query.get("method", ""))


async def take_totp(request: web.Request) -> web.Response:
    """Second step with a code."""
    flow, fields = await _posted(request)
    destination = destinations.read(context_of(request), fields)
    if flow.first is None:
        return go(f"/sign-in?{destination.query()}")
    try:
        proven = await verify_totp(context_of(request), flow.first, fields.get("code", ""), arrival(request).source)
    except SignInRefused as refused:
        if refused.wait_until is not None or refused.reason == Reason.USER_DISABLED:
            flow.first = None
            return _form(request, flow, destination, refused)
        return _second(request, flow, destination, "totp", refused)
    return await admit(request, flow, proven, destination)


async def take_passkey(request: web.Request) -> web.Response:
    """A passkey, alone or after the password."""
    flow, fields = await _posted(request)
    context, destination = context_of(request), destinations.read(context_of(request), fields)
    expected = flow.first.user if flow.first is not None else None
    try:
        ceremony, answer = flow.take_ceremony(fields.get("ceremony", "")), fields.get("answer", "")
        proven = await verify_passkey(context, ceremony, answer, arrival(request).source, expected=expected)
    except SignInRefused as refused:
        if expected is not None:
            return _second(request, flow, destination, "webauthn", refused)
        return _form(request, flow, destination, refused, passkey_failed=True)
    return await admit(request, flow, proven, destination)


async def finish(request: web.Request) -> web.Response:
    """After the browser was cleared of the person before: the new person's session."""
    check_origin(request)
    posted = await request.post()
    fields = {name: value for name, value in posted.items() if isinstance(value, str)}
    destination = destinations.read(context_of(request), fields)
    # The clearing took the app host's state cookie with it: the app's own redirect sets a new one.
    again = Destination(destination.app, destination.host, destination.path)
    return await admit_after_clearing(request, fields.get("ticket", ""), again) or go("/sign-in")


async def _posted(request: web.Request) -> tuple[Flow, dict[str, str]]:
    flow = flow_of(request)
    fields = await read_form(request, flow.key if flow is not None else None)
    if flow is None:
        raise ForgedForm("no sign-in under way")
    return flow, dict(fields)


def _form(
    request: web.Request,
    flow: Flow | None,
    destination: Destination,
    refused: SignInRefused | None = None,
    *,
    login: str = "",
    passkey_failed: bool = False,
    why: Reason | None = None,
) -> web.Response:
    context, token = context_of(request), None
    if flow is None:
        token, flow = request.app[FLOWS].start(context.clock())
    ceremony = passkeys.begin_sign_in(context, None)
    response = page(
        request,
        "sign_in.html",
        binding=flow.key,
        status=REFUSED if refused else 200,
        fields=destination.fields(),
        place=destination.app,
        refused=refused,
        login=login,
        passkey_failed=passkey_failed,
        options=ceremony.options,
        ceremony=flow.open_ceremony(ceremony),
        why=why,
    )
    if token is not None:
        put_pending(response, token)
    return response


def _second(
    request: web.Request, flow: Flow, destination: Destination, method: str, refused: SignInRefused | None = None
) -> web.Response:
    context, first = context_of(request), flow.first
    if first is None:
        return go(f"/sign-in?{destination.query()}")
    chosen = method if method in first.methods else first.methods[-1]
    values: dict[str, object] = {}
    if chosen == "webauthn":
        ceremony = passkeys.begin_sign_in(context, first.user)
        values = {"options": ceremony.options, "ceremony": flow.open_ceremony(ceremony)}
    others = [name for name in first.methods if name != chosen]
    return page(
        request,
        f"second_{chosen}.html",
        binding=flow.key,
        status=REFUSED if refused else 200,
        refused=refused,
        fields=destination.fields(),
        others=others,
        query=destination.query(),
        action="/sign-in",
        second="/sign-in/second",
        **values,
    )
