"""Requests that another site makes a browser send: Fetch Metadata and Origin (RFC 6454), and CORS preflights.

An app that was written for a closed network seldom defends itself against forged requests, so the gate does: what
changes something, and every WebSocket handshake, must come from the app's own origin or one that its registration
names. Requests without these headers come from programs, which no other site can steer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.gate.request import RequestHead
    from gateway.state.records import App

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_MAX_AGE = b"600"


def is_forged(request: RequestHead, app: App) -> bool:
    """Whether a request that could change something was started by a site that `app` does not know."""
    if request.method in SAFE_METHODS and not request.upgrade:
        return False
    find = request.find
    origin = find.get(b"origin")
    if origin is None:
        return find.get(b"sec-fetch-site") == b"cross-site"
    return not (is_own_origin(request, origin) or is_known_origin(app, origin))


def is_own_origin(request: RequestHead, origin: bytes) -> bool:
    """Whether `origin` is exactly the scheme, host and port that this request was sent to."""
    return origin == b"%b://%b" % (request.peer.scheme.encode(), request.find.get(b"host", b"").lower())


def is_known_origin(app: App, origin: bytes) -> bool:
    """Whether the app's registration names `origin`."""
    return origin.decode("latin-1") in app.preflight_origins


def is_preflight(request: RequestHead) -> bool:
    """Whether a request is a CORS preflight (Fetch standard §4.8)."""
    find = request.find
    return request.method == "OPTIONS" and b"origin" in find and b"access-control-request-method" in find


def preflight_headers(request: RequestHead, app: App) -> tuple[tuple[bytes, bytes], ...] | None:
    """Return the headers that allow a preflight, or None where the app's registration does not name its origin."""
    find = request.find
    origin = find[b"origin"]
    if not is_known_origin(app, origin):
        return None
    headers = [
        *allow_origin(origin),
        (b"Access-Control-Allow-Methods", ", ".join(app.methods).encode("ascii")),
        (b"Access-Control-Max-Age", _MAX_AGE),
    ]
    asked = find.get(b"access-control-request-headers")
    if asked:
        headers.append((b"Access-Control-Allow-Headers", asked))
    return tuple(headers)


def allow_origin(origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that let scripts of a known origin read an answer."""
    return (
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Vary", b"Origin"),
    )
