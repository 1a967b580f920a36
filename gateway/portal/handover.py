"""From the portal to an app host: a one-time code for exactly that host and that browser."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from gateway.identity.sessions import new_token, token_hash
from gateway.portal import destinations
from gateway.portal.arrival import context_of
from gateway.portal.destinations import Destination
from gateway.portal.pages import go
from gateway.state.records import Session

CALLBACK = "/.sekisho/callback"


async def send(request: web.Request, session: Session, destination: Destination) -> web.Response:
    """Send a signed-in browser to its destination, with a hand-over code where it is an app host that asked for one.

    Without a state (a link from the launcher) the app host asks for the hand-over itself.
    """
    context = context_of(request)
    if destination.app is None or not destination.state:
        return go(destinations.of(context, destination))
    code = new_token()
    await context.steward.call(
        "handoff.put",
        code_hash=token_hash(code),
        session_id=session.id,
        app_id=destination.app.id,
        host=destination.host,
        state_hash=destination.state,
        return_to=destination.path,
        expires_at=context.clock() + context.settings.sessions.code_lifetime,
    )
    return go(destinations.address(context, destination.host, f"{CALLBACK}?{urlencode({'code': code})}"))
