"""A person's own means of signing in: see, add, remove. Changes want a second factor of the last ten minutes."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gateway.identity import enrolment, factors, passkeys, totp
from gateway.identity.authentication import SignInRefused
from gateway.identity.lockout import is_disabled
from gateway.portal.arrival import context_of
from gateway.portal.entrance import FLOWS
from gateway.portal.flows import Flow
from gateway.portal.handlers.new_factor import Around, passkey_page, totp_page
from gateway.portal.pages import arrival, go, page
from gateway.portal.signed_in import posted, required, required_fresh
from gateway.state.records import Factor, FactorKind, Session, User

_LIST = "/factors"
_NOTICES = ("added", "removed", "password")


async def show(request: web.Request) -> web.Response:
    """List the second factors and the password."""
    session, user = await required(request)
    context = context_of(request)
    mine = sorted(context.reader.factors(user.id), key=lambda factor: factor.created_at)
    done = request.query.get("done", "")
    return page(
        request,
        "factors.html",
        binding=session.id,
        done=done if done in _NOTICES else "",
        password=next((f for f in mine if f.kind == FactorKind.PASSWORD), None),
        seconds=[(f, is_disabled(f)) for f in mine if f.kind in factors.SECOND_FACTORS],
        last=request.query.get("last") == "1",
        full=_is_full(context.reader.factors(user.id)),
    )


async def remove(request: web.Request) -> web.Response:
    """Remove one; never the last one that lets the person in."""
    session, user = await required_fresh(request)
    fields = await posted(request, session)
    try:
        await enrolment.remove(context_of(request), user, fields.get("factor", ""), arrival(request).source)
    except enrolment.LastFactor:
        return go(f"{_LIST}?last=1")
    except KeyError:
        return go(_LIST)
    return go(f"{_LIST}?done=removed")


async def show_totp(request: web.Request) -> web.Response:
    """Offer a secret for another authenticator app."""
    session, user = await required_fresh(request)
    return _totp_form(request, session, user, _flow(request, session), None)


async def take_totp(request: web.Request) -> web.Response:
    """Prove the app by one code, then keep it."""
    session, user = await required_fresh(request)
    fields = await posted(request, session)
    context, flow = context_of(request), _flow(request, session)
    if flow.totp_secret is None or _is_full(context.reader.factors(user.id)):
        return go(_LIST)
    try:
        secret, label = flow.totp_secret, fields.get("label", "")
        factor = await enrolment.prove_totp(context, user, secret, fields.get("code", ""), label)
    except SignInRefused as refused:
        return _totp_form(request, session, user, flow, refused)
    flow.totp_secret = None
    await enrolment.store(context, user, factor, arrival(request).source)
    return go(f"{_LIST}?done=added")


async def show_passkey(request: web.Request) -> web.Response:
    """Offer to make another passkey."""
    session, user = await required_fresh(request)
    return _passkey_form(request, session, user, failed=False)


async def take_passkey(request: web.Request) -> web.Response:
    """Verify the new passkey, then keep it."""
    session, user = await required_fresh(request)
    fields = await posted(request, session)
    context, ceremony = context_of(request), _flow(request, session).take_ceremony(fields.get("ceremony", ""))
    if _is_full(context.reader.factors(user.id)):
        return go(_LIST)
    try:
        label = enrolment.tidy_label(fields.get("label", ""))
        factor = passkeys.finish_registration(context, ceremony, user, fields.get("answer", ""), label)
    except passkeys.PasskeyRefused:
        return _passkey_form(request, session, user, failed=True)
    await enrolment.store(context, user, factor, arrival(request).source)
    return go(f"{_LIST}?done=added")


def _flow(request: web.Request, session: Session) -> Flow:
    return request.app[FLOWS].of_session(session.id, context_of(request).clock())


def _is_full(mine: Sequence[Factor]) -> bool:
    return len(mine) >= passkeys.MAX_PASSKEYS


def _totp_form(
    request: web.Request, session: Session, user: User, flow: Flow, refused: SignInRefused | None
) -> web.Response:
    flow.totp_secret = flow.totp_secret or totp.new_secret()
    return totp_page(request, Around(session.id, "/factors/totp", steps=False), user, flow.totp_secret, refused)


def _passkey_form(request: web.Request, session: Session, user: User, *, failed: bool) -> web.Response:
    around = Around(session.id, "/factors/passkey", steps=False)
    return passkey_page(request, around, user, _flow(request, session), failed=failed)
