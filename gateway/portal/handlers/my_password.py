"""One's own password: the old one once more, behind a fresh second factor; other sign-ins end with the change.

Who set up a passkey alone may add a password here: the command line needs one.
"""

from __future__ import annotations

from aiohttp import web

from gateway.identity import enrolment
from gateway.identity.authentication import SignInRefused, verify_first
from gateway.identity.passwords import SUGGESTED_LENGTH, PasswordFault, find_fault, personal_words
from gateway.portal.arrival import context_of
from gateway.portal.handlers.sign_in import REFUSED
from gateway.portal.pages import arrival, go, page
from gateway.portal.signed_in import posted, required_fresh
from gateway.state.records import FactorKind, Session, User

_LIST = "/factors"


async def show(request: web.Request) -> web.Response:
    """Ask for the old password and twice for the new one."""
    session, user = await required_fresh(request)
    return _form(request, session, user)


async def take(request: web.Request) -> web.Response:
    """Check both, keep the new one, end every other session of the person."""
    session, user = await required_fresh(request)
    fields = await posted(request, session)
    context, password = context_of(request), fields.get("password", "")
    fault = find_fault(password, fields.get("again", ""), personal_words(user, context.settings.portal.organisation))
    if fault is not None:
        return _form(request, session, user, fault=fault)
    if _has_password(request, user):
        try:
            await verify_first(context, user.login, fields.get("current", ""), arrival(request).source)
        except SignInRefused as refused:
            return _form(request, session, user, refused=refused)
    fresh = await context.hasher.hash(password)
    await enrolment.change_password(context, session, user, fresh, arrival(request).source)
    return go(f"{_LIST}?done=password")


def _has_password(request: web.Request, user: User) -> bool:
    # A password that was switched off after too many failures counts: only a set-up code brings one back.
    mine = context_of(request).reader.factors(user.id)
    return any(factor.kind == FactorKind.PASSWORD for factor in mine)


def _form(
    request: web.Request,
    session: Session,
    user: User,
    *,
    fault: PasswordFault | None = None,
    refused: SignInRefused | None = None,
) -> web.Response:
    return page(
        request,
        "password.html",
        binding=session.id,
        status=REFUSED if fault or refused else 200,
        fault=fault,
        refused=refused,
        length=SUGGESTED_LENGTH,
        login=user.login,
        has_password=_has_password(request, user),
    )
