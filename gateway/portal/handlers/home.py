"""The launcher, sign-out, and the pages without a story of their own."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from gateway.identity.sessions import end_sessions
from gateway.portal import cookies, destinations
from gateway.portal.arrival import context_of
from gateway.portal.availability import ActivePolicy, offers
from gateway.portal.entrance import FLOWS, flow_of
from gateway.portal.pages import arrival, go, language, page
from gateway.portal.signed_in import posted, required
from policies.reasons import Reason

ACTIVE_POLICY = web.AppKey("active_policy", ActivePolicy)


async def launcher(request: web.Request) -> web.Response:
    """Every app that is served: the way to those that may be opened now, the remedy for the others."""
    if arrival(request).signed_in is None:
        return go("/sign-in?" + urlencode({"to": "/"}) if request.query_string else "/sign-in")
    session, user = await required(request)
    context = context_of(request)
    found = offers(context, request.app[ACTIVE_POLICY], arrival(request), language(request))
    return page(
        request,
        "launcher.html",
        binding=session.id,
        session=session,
        user=user,
        usable=[(offer, destinations.address(context, offer.app.hosts[0], "/")) for offer in found if not offer.reason],
        unusable=[(offer, destinations.address(context, offer.app.hosts[0], "/")) for offer in found if offer.reason],
    )


async def show_sign_out(request: web.Request) -> web.Response:
    """Ask before the session ends: a link on another site signs nobody out."""
    signed_in = arrival(request).signed_in
    if signed_in is None:
        return page(request, "signed_out.html")
    return page(request, "sign_out.html", binding=signed_in[0].id)


async def take_sign_out(request: web.Request) -> web.Response:
    """End the whole session, apps included, and have the browser forget what it holds of us."""
    session, user = await required(request)
    await posted(request, session)
    await end_sessions(context_of(request), (session.id,), Reason.SIGNED_OUT, by=user.login, why="sign-out")
    flow = flow_of(request)
    if flow is not None:
        request.app[FLOWS].end(flow)
    response = page(request, "signed_out.html", person=None)
    cookies.clear_site_data(response, "cookies", "storage")
    return response


async def sign_in_failed(request: web.Request) -> web.Response:
    """The hand-over to an app host did not work out: another tab, an old page, cookies switched off."""
    return page(request, "handover_failed.html", status=400)
