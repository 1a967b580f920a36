"""The last step of every sign-in: a session for the browser, after the data of the person before are gone.

On a computer that people share, an app's own cookies must not outlive their owner. When another person signs in, the
browser first gets `Clear-Site-Data: "cookies"`, which empties the portal and every app host of the same registrable
domain; the new session's cookie is set by the answer after that, to a form that only this page can send.
"""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from gateway.identity.authentication import Authenticated
from gateway.identity.sessions import end_sessions, new_token, start_session
from gateway.portal import cookies, destinations
from gateway.portal.arrival import context_of
from gateway.portal.destinations import Destination
from gateway.portal.flows import Flow, Flows
from gateway.portal.pages import arrival, page
from gateway.state.records import User
from policies.reasons import Reason

FLOWS = web.AppKey("flows", Flows)
_PERSON = "person"


def flow_of(request: web.Request) -> Flow | None:
    """The sign-in under way in this browser."""
    now = context_of(request).clock()
    return request.app[FLOWS].find(request.cookies.get(cookies.PENDING), now)


def put_pending(response: web.StreamResponse, token: str) -> None:
    """Tie the browser to a flow."""
    cookies.put(response, cookies.PENDING, token, max_age=600)


async def admit(
    request: web.Request, flow: Flow | None, authenticated: Authenticated, destination: Destination
) -> web.Response:
    """Let a proven person in, or clear the browser first where somebody else used it before."""
    if not _somebody_else(request, authenticated.user.id):
        return await _start(request, flow, authenticated, destination)
    await _end_of_the_other(request, authenticated.user)
    flows, now = request.app[FLOWS], context_of(request).clock()
    if flow is not None:
        flows.end(flow)
    _, waiting = flows.start(now)
    ticket = new_token()
    waiting.proven = (ticket, authenticated)
    flows.renew(waiting, now)
    response = page(
        request,
        "changed_person.html",
        binding=None,
        name=authenticated.user.name,
        ticket=f"{waiting.key}.{ticket}",
        fields=destination.fields(),
    )
    cookies.clear_site_data(response, "cookies")
    return response


async def admit_after_clearing(request: web.Request, ticket: str, destination: Destination) -> web.Response | None:
    """Let in the person who was proven before the browser was cleared; None when the ticket is spent or old.

    The ticket stands in the page's form only; the form's origin was checked by the caller.
    """
    key, _, secret = ticket.partition(".")
    flows, now = request.app[FLOWS], context_of(request).clock()
    flow = flows.by_key(key, now)
    if flow is None or flow.proven is None:
        return None
    flows.end(flow)
    expected, authenticated = flow.proven
    if not context_of(request).digests.match("ticket", secret, context_of(request).digests.make("ticket", expected)):
        return None
    return await _start(request, None, authenticated, destination)


def person_mark(request: web.Request, user_id: str) -> str:
    """What the browser remembers of who signed in last: tells nothing without our key."""
    return context_of(request).digests.make(_PERSON, user_id)


def marks(request: web.Request, mark: str, user_id: str) -> bool:
    """Whether `mark` is this person's, under any of our keys."""
    return context_of(request).digests.match(_PERSON, user_id, mark)


def _somebody_else(request: web.Request, user_id: str) -> bool:
    mark = request.cookies.get(cookies.PERSON)
    before = arrival(request).signed_in
    if before is not None and before[1].id != user_id:
        return True
    return mark is not None and not marks(request, mark, user_id)


async def _end_of_the_other(request: web.Request, newcomer: User) -> None:
    """End the session that the person before left open: not every browser forgets its cookies when told to."""
    before = arrival(request).signed_in
    if before is not None and before[1].id != newcomer.id:
        why = "another person signed in on this browser"
        await end_sessions(context_of(request), (before[0].id,), Reason.SESSION_REPLACED, by=newcomer.login, why=why)


async def _start(
    request: web.Request, flow: Flow | None, authenticated: Authenticated, destination: Destination
) -> web.Response:
    before = arrival(request).signed_in
    started = await start_session(
        context_of(request), authenticated, arrival(request).source, replaces=before[0].id if before else None
    )
    if flow is not None:
        request.app[FLOWS].end(flow)
    response = onward(request, destination)
    cookies.put(response, cookies.SESSION, started.token)
    cookies.put(response, cookies.PERSON, person_mark(request, authenticated.user.id), max_age=cookies.LONGEST)
    cookies.drop(response, cookies.PENDING)
    return response


def onward(request: web.Request, destination: Destination) -> web.Response:
    """A page that goes on by itself.

    A redirect would still belong to the form that was sent, and `form-action 'self'` rightly stops forms that end on
    another host; a page that refreshes starts anew. The hand-over to the app host is made by `/sign-in` then.
    """
    if destination.app is None:
        address = destinations.of(context_of(request), destination)
    elif destination.state:
        address = "/sign-in?" + urlencode(destination.fields())
    else:
        address = destinations.of(context_of(request), destination)
    return page(request, "onward.html", address=address, place=destination.app)
