"""Step-up: the same person shows a second factor again; the session gets a new token and goes on."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway.identity import passkeys
from gateway.identity.authentication import (
    Authenticated,
    SignInRefused,
    second_step,
    verify_passkey,
    verify_totp,
)
from gateway.identity.sessions import elevate_session, end_sessions
from gateway.portal import cookies, destinations
from gateway.portal.arrival import context_of
from gateway.portal.destinations import Destination
from gateway.portal.entrance import FLOWS, onward
from gateway.portal.handlers.sign_in import REFUSED
from gateway.portal.pages import arrival, page
from gateway.portal.signed_in import posted, required
from gateway.state.records import Session, User
from policies.reasons import Reason


async def show(request: web.Request) -> web.Response:
    """Ask for the factor that the refused page wants, or for any that the person has."""
    session, user = await required(request)
    destination = destinations.read(context_of(request), request.query)
    return _form(request, session, user, destination, request.query.get("method", ""))


async def take_totp(request: web.Request) -> web.Response:
    """Raise the session with a code."""
    session, user = await required(request)
    fields = await posted(request, session)
    step = second_step(context_of(request), user, session.amr)
    try:
        proven = await verify_totp(context_of(request), step, fields.get("code", ""), arrival(request).source)
    except SignInRefused as refused:
        return await _refused(request, session, user, fields, "totp", refused)
    return await _raise(request, session, proven, fields)


async def take_passkey(request: web.Request) -> web.Response:
    """Raise the session with a passkey of the same person."""
    session, user = await required(request)
    fields = await posted(request, session)
    context = context_of(request)
    flow = request.app[FLOWS].of_session(session.id, context.clock())
    ceremony, answer = flow.take_ceremony(fields.get("ceremony", "")), fields.get("answer", "")
    try:
        proven = await verify_passkey(context, ceremony, answer, arrival(request).source, expected=user)
    except SignInRefused as refused:
        return await _refused(request, session, user, fields, "webauthn", refused)
    return await _raise(request, session, proven, fields)


async def _raise(
    request: web.Request, session: Session, proven: Authenticated, fields: Mapping[str, str]
) -> web.Response:
    token = await elevate_session(context_of(request), session, proven)
    destination = destinations.read(context_of(request), fields)
    response = onward(request, Destination(destination.app, destination.host, destination.path))
    cookies.put(response, cookies.SESSION, token)
    return response


async def _refused(
    request: web.Request, session: Session, user: User, fields: Mapping[str, str], method: str, refused: SignInRefused
) -> web.Response:
    destination = destinations.read(context_of(request), fields)
    if refused.wait_until is not None:
        await end_sessions(
            context_of(request), (session.id,), Reason.SESSION_ENDED, by=user.login, why="too many wrong codes"
        )
    return _form(request, session, user, destination, method, refused)


def _form(
    request: web.Request,
    session: Session,
    user: User,
    destination: Destination,
    method: str,
    refused: SignInRefused | None = None,
) -> web.Response:
    context = context_of(request)
    methods = second_step(context, user, session.amr).methods
    if not methods:
        return page(request, "no_second_factor.html", status=REFUSED)
    wanted = "webauthn" if method == "passkey" else method
    if wanted == "webauthn" and wanted not in methods:
        return page(request, "no_passkey.html", status=REFUSED)  # a code would only lead back to here
    chosen = wanted if wanted in methods else methods[-1]
    values: dict[str, object] = {}
    if chosen == "webauthn":
        ceremony = passkeys.begin_sign_in(context, user)
        flow = request.app[FLOWS].of_session(session.id, context.clock())
        values = {"options": ceremony.options, "ceremony": flow.open_ceremony(ceremony)}
    return page(
        request,
        f"second_{chosen}.html",
        binding=session.id,
        status=REFUSED if refused else 200,
        refused=refused,
        fields=destination.fields(),
        others=[name for name in methods if name != chosen],
        query=destination.query(),
        action="/step-up",
        second="/step-up",
        **values,
    )
