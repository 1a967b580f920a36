"""Forms: where they may come from, and the token that ties one to the browser it was shown to.

Three checks, each enough against most forgeries: `Origin` must be ours, `Sec-Fetch-Site` (where sent) must say
same-origin, and the form's token must fit the session or the sign-in under way and the path it is sent to.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway.identity.context import ControlContext
from gateway.portal.arrival import context_of

TOKEN_FIELD = "form_token"  # noqa: S105 (the name of a form field)
MAX_FORM = 64 * 1024  # bytes
_PURPOSE = "form"


class ForgedForm(Exception):
    """The form was not sent by a page of ours in this browser, or the page was left open for too long."""


def form_token(context: ControlContext, binding: str, path: str) -> str:
    """The token for a form on a page of `binding` (a flow's key or a session's id) that is sent to `path`."""
    return context.digests.make(_PURPOSE, f"{binding} {path}")


async def read_form(request: web.Request, binding: str | None) -> Mapping[str, str]:
    """Read a form's fields after all checks. Raises ForgedForm; no binding means no page was shown."""
    context = context_of(request)
    check_origin(request)
    posted = await request.post()
    fields = {name: value for name, value in posted.items() if isinstance(value, str)}
    token = fields.pop(TOKEN_FIELD, "")
    if binding is None or not context.digests.match(_PURPOSE, f"{binding} {request.path}", token):
        raise ForgedForm("token")
    return fields


def check_origin(request: web.Request) -> None:
    """Refuse what another site started. Raises ForgedForm."""
    if request.headers.get("Origin") != context_of(request).settings.portal.origin:
        raise ForgedForm("origin")
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise ForgedForm("fetch site")
