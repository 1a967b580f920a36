"""A person's own sessions: where they are signed in, and the way to end each."""

from __future__ import annotations

from aiohttp import web

from gateway.identity.sessions import browser_sessions, end_sessions
from gateway.portal.arrival import context_of
from gateway.portal.browser_name import browser_name
from gateway.portal.pages import go, page
from gateway.portal.signed_in import posted, required
from policies.reasons import Reason

_ALL_OTHERS = "others"


async def show(request: web.Request) -> web.Response:
    """List the living sessions: browser, place, device, last use; the one in use first."""
    session, user = await required(request)
    context = context_of(request)
    devices = {device.id: device.name for device in context.reader.devices()}
    mine = sorted(browser_sessions(context, user.id), key=lambda one: (one.id != session.id, -one.last_used_at))
    rows = [(one, browser_name(one.user_agent), devices.get(one.device_id or "", "")) for one in mine]
    return page(
        request, "sessions.html", binding=session.id, rows=rows, session=session, done=request.query.get("done") == "1"
    )


async def end(request: web.Request) -> web.Response:
    """End one other session of the same person, or all others. The own one ends by signing out."""
    session, user = await required(request)
    fields = await posted(request, session)
    others = [one.id for one in browser_sessions(context_of(request), user.id) if one.id != session.id]
    chosen = fields.get("session", "")
    doomed = tuple(others) if chosen == _ALL_OTHERS else tuple(one for one in others if one == chosen)
    await end_sessions(context_of(request), doomed, Reason.SIGNED_OUT, by=user.login, why="ended in the portal")
    return go("/sessions?done=1")
