"""The two pages on which a person gets a factor: an authenticator app by its secret, a passkey by this browser.

The first set-up and a person's own factors both show them; what follows an answer is theirs.
"""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web

from gateway.identity import passkeys, totp
from gateway.identity.authentication import SignInRefused
from gateway.portal.arrival import context_of
from gateway.portal.flows import Flow
from gateway.portal.handlers.sign_in import REFUSED
from gateway.portal.pages import page
from gateway.state.records import User


class Around(NamedTuple):
    """What differs between the places that show such a page."""

    binding: str  # what the form's token is tied to: a session, or a flow before there is one
    action: str  # where the form goes
    steps: bool  # one of the steps of a first set-up


def totp_page(
    request: web.Request, around: Around, user: User, secret: str, refused: SignInRefused | None
) -> web.Response:
    """Show `secret` as a picture and as text; `refused` says what was wrong with the code that was tried."""
    uri = totp.enrolment_uri(secret, user.login, context_of(request).settings.portal.host)
    return page(
        request,
        "setup_totp.html",
        binding=around.binding,
        status=REFUSED if refused else 200,
        refused=refused,
        qr=totp.enrolment_qr(uri),
        uri=uri,
        secret=totp.grouped(secret),
        action=around.action,
        steps=around.steps,
    )


def passkey_page(request: web.Request, around: Around, user: User, flow: Flow, *, failed: bool) -> web.Response:
    """Have the browser make a passkey; the ceremony is kept in `flow` until its answer comes."""
    ceremony = passkeys.begin_registration(context_of(request), user)
    return page(
        request,
        "setup_passkey.html",
        binding=around.binding,
        status=REFUSED if failed else 200,
        failed=failed,
        options=ceremony.options,
        ceremony=flow.open_ceremony(ceremony),
        action=around.action,
        steps=around.steps,
    )
