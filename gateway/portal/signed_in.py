"""What pages for signed-in people share: who it is, whether the second factor is fresh, and their forms."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web

from gateway.portal.arrival import context_of
from gateway.portal.forms import read_form
from gateway.portal.pages import arrival
from gateway.state.records import Session, User

FRESH_SECONDS = 600.0  # how long a second factor opens the pages that change factors


async def required(request: web.Request) -> tuple[Session, User]:
    """The living session and its person; others are sent to sign in and come back. Raises HTTPSeeOther."""
    signed_in = arrival(request).signed_in
    if signed_in is None:
        back = request.path_qs if request.method == "GET" else "/"
        raise web.HTTPSeeOther("/sign-in?" + urlencode({"to": back}))
    return signed_in


async def required_fresh(request: web.Request) -> tuple[Session, User]:
    """The same, with a second factor of the last ten minutes; others step up first. Raises HTTPSeeOther."""
    session, user = await required(request)
    if session.mfa_at is None or context_of(request).clock() - session.mfa_at > FRESH_SECONDS:
        back = request.path_qs if request.method == "GET" else "/factors"
        raise web.HTTPSeeOther("/step-up?" + urlencode({"to": back}))
    return session, user


async def posted(request: web.Request, session: Session) -> Mapping[str, str]:
    """The fields of a form that was shown to this session. Raises ForgedForm."""
    return await read_form(request, session.id)
