"""What stands around every handler: headers of every answer, and an explained page for everything that goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from audit.journal import JournalUnhealthy
from gateway.gate.retry_after import retry_after
from gateway.identity.passwords import HashingBusy
from gateway.portal import cookies, language
from gateway.portal.arrival import CONTEXT, REQUEST_ID
from gateway.portal.forms import ForgedForm
from gateway.portal.pages import go, refusal
from gateway.state.steward_client import StewardUnavailable
from policies.reasons import Reason

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
SCHEME = "X-Forwarded-Proto"  # written by the worker's edge, whatever a client sent
_log = logging.getLogger("sekisho.portal")


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into a refusal that explains itself; no exception text reaches a person."""
    try:
        return await handler(request)
    except web.HTTPRedirection as move:
        return go(move.headers["Location"])
    except ForgedForm:
        return refusal(request, Reason.CROSS_SITE, status=403, links=(("/sign-in", "link.sign_in"),))
    except HashingBusy:
        return _later(request, Reason.OVERLOADED)
    except JournalUnhealthy:
        return _later(request, Reason.JOURNAL_UNHEALTHY)
    except StewardUnavailable:
        return _later(request, Reason.CONTROL_UNAVAILABLE)
    except web.HTTPRequestEntityTooLarge:
        return refusal(request, Reason.TOO_LARGE, status=413)
    except web.HTTPMethodNotAllowed as fault:
        response = refusal(request, Reason.METHOD_NOT_ALLOWED, status=405)
        response.headers["Allow"] = fault.headers["Allow"]
        return response
    except web.HTTPException as fault:
        reason = Reason.UNKNOWN_HOST if fault.status == 404 else Reason.MALFORMED_REQUEST
        return refusal(request, reason, status=fault.status, links=(("/", "link.home"),))
    except Exception:  # noqa: BLE001 (the outermost border: logged here, refused to the person)
        _log.exception("%s %s failed", request.method, request.path)
        return refusal(request, Reason.INTERNAL_ERROR, status=500)


@web.middleware
async def dress(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put the headers of every page on the answer, and remember a language that was chosen."""
    response = await handler(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.headers.get(SCHEME) == "https":  # RFC 6797 §7.2: never over http
        max_age = request.app[CONTEXT].settings.portal.hsts_max_age
        response.headers["Strict-Transport-Security"] = f"max-age={max_age}"
    chosen = request.query.get("lang")
    if chosen in language.LANGUAGES and response.status == 200 and "Clear-Site-Data" not in response.headers:
        cookies.put(response, cookies.LANGUAGE, chosen, max_age=cookies.LONGEST)
    return response


async def unnamed(_: web.Request, response: web.StreamResponse) -> None:
    """Take away what aiohttp says of itself: the name and version of the library, entered behind every middleware."""
    response.headers.pop("Server", None)


def _later(request: web.Request, reason: Reason) -> web.Response:
    """Refuse for now: nobody knows for how long."""
    response = refusal(request, reason, status=503)
    response.headers["Retry-After"] = str(retry_after(0.0, request.headers.get(REQUEST_ID, "")))
    return response
