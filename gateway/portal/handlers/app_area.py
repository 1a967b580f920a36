"""Our own pages on every app host, below `/.sekisho/`: take over a session, tell who is there, sign out, try again."""

from __future__ import annotations

import base64
import hashlib
import secrets

from aiohttp import web

from gateway.identity.sessions import new_token, token_hash
from gateway.portal import cookies, destinations
from gateway.portal.arrival import context_of
from gateway.portal.entrance import marks, person_mark
from gateway.portal.pages import arrival, go
from gateway.state.records import AppSession
from gateway.state.steward_client import CommandRefused
from policies.reasons import Reason


async def callback(request: web.Request) -> web.Response:
    """Trade the one-time code for this host's own session cookie and return to the address first asked for.

    Where somebody else used this host in this browser, what the app left there goes first, cookies included: the
    portal's own clearing reaches hosts of its own registrable domain only. The hand-over then begins anew.
    """
    context, who = context_of(request), arrival(request)
    state, code = request.cookies.get(cookies.STATE, ""), request.query.get("code", "")
    try:
        taken = await context.steward.call(
            "handoff.take", code_hash=_hash(code), host=who.host, state_hash=state_digest(state)
        )
    except CommandRefused:
        return _start_over(request)
    session = context.reader.session(taken["session_id"])
    if taken["app_id"] != who.app_id or session is None or session.ended_at is not None:
        return _start_over(request)
    address = destinations.address(context, who.host, taken["return_to"])
    mark = request.cookies.get(cookies.PERSON)
    if mark is not None and not marks(request, mark, session.user_id):
        response = go(address)
        cookies.clear_site_data(response, "cookies", "storage")
        cookies.drop(response, cookies.PERSON)
        return response
    token = new_token()
    child = AppSession(
        id="a-" + secrets.token_hex(12), session_id=session.id, app_id=who.app_id, host=who.host,
        token_hash=token_hash(token), created_at=context.clock(),
    )  # fmt: skip
    await context.steward.call("app_session.start", app_session=child.to_row())
    response = go(address)
    if mark is None:
        cookies.clear_site_data(response, "storage")
        cookies.put(response, cookies.PERSON, person_mark(request, session.user_id), max_age=cookies.LONGEST)
    cookies.put(response, cookies.APP_SESSION, token)
    cookies.drop(response, cookies.STATE)
    return response


async def whoami(request: web.Request) -> web.Response:
    """Who is signed in here, on which device, and for how many seconds more; for the app's own pages."""
    context, who = context_of(request), arrival(request)
    if who.signed_in is None:
        problem = {"type": "about:blank", "title": "Sign-in required", "status": 401, "reason": Reason.SIGN_IN_REQUIRED}
        challenge = f'Sekisho realm="{request.host}", sign_in="{context.settings.portal.origin}/"'  # RFC 9110 §15.5.2
        headers = {"WWW-Authenticate": challenge}
        return web.json_response(problem, status=401, content_type="application/problem+json", headers=headers)
    session, user = who.signed_in
    now = context.clock()
    idle = session.last_used_at + session.idle_limit
    return web.json_response(
        {
            "user": {"id": user.id, "login": user.login, "name": user.name, "department": user.department},
            "device": who.source.device_id,
            "expires_in": max(0, int(session.expires_at - now)),
            "idle_expires_in": max(0, int(min(idle, session.expires_at) - now)),
            "mfa": {"method": session.mfa_method, "at": session.mfa_at},
        }
    )


async def sign_out(request: web.Request) -> web.Response:
    """Go to the portal's sign-out page, which asks before the whole session ends: a link cannot sign anybody out."""
    context = context_of(request)
    return go(destinations.address(context, context.settings.portal.host, "/sign-out"))


async def recheck(request: web.Request) -> web.Response:
    """Try the refused address once more, after asking the MDM what it knows by now: the decision is made anew."""
    context = context_of(request)
    path = destinations.same_host_path(request.query.get("to", ""))
    # Strangers do not get to ask the MDM.
    if context.posture is not None and arrival(request).signed_in is not None:
        await context.posture.hurry()
    return go(destinations.address(context, arrival(request).host, path))


def state_digest(state: str) -> str:
    """The form of the state cookie that travels in addresses: base64url SHA-256 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(state.encode()).digest()).rstrip(b"=").decode("ascii")


def _hash(code: str) -> str:
    return token_hash(code) if code.isascii() else ""


def _start_over(request: web.Request) -> web.Response:
    context = context_of(request)
    return go(destinations.address(context, context.settings.portal.host, "/sign-in/failed"))
