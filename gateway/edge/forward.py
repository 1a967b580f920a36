"""The request head as the app gets it.

The client's own fields come first, then ours: nothing named in `Connection` or sent twice can stand in for what the
gateway says (security V5–V7).
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.edge.pool import Upstream
from gateway.gate.headers import cookies_for_app, fold
from gateway.gate.request import Peer, RequestHead
from gateway.gate.verdict import Forward, Local


def forwarded_fields(peer: Peer) -> bytes:
    """Return the X-Forwarded fields that are the same for every request of a connection."""
    address = peer.address.encode("ascii")
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (address, peer.scheme.encode("ascii"))


def request_head(
    request: RequestHead,
    verdict: object,
    upstream: Upstream,
    connection_fields: bytes,
    ours: Sequence[tuple[bytes, bytes]],
) -> bytes:
    """Return the head's bytes; `ours` are the fields made by the gate for this request."""
    find = request.find
    host = find[b"host"]
    fields = request.headers
    upstream_host = host
    if isinstance(verdict, Forward):
        app = verdict.app
        if app.host_header == "upstream":
            upstream_host = upstream.authority.encode("ascii")
        if not app.assertion_header.startswith("X-Sekisho-"):
            own = fold(app.assertion_header.encode("ascii"))
            fields = [field for field in fields if fold(field[0]) != own]
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (request.method.encode("ascii"), request.target, upstream_host)]
    lines += [b"%b: %b\r\n" % field for field in fields]
    cookie = find.get(b"cookie")
    if cookie is not None:
        if not isinstance(verdict, Local):  # our own pages read our cookies; no app ever sees them
            cookie = cookies_for_app(cookie)
        if cookie:
            lines.append(b"Cookie: %b\r\n" % cookie)
    lines.append(connection_fields)
    lines.append(b"X-Forwarded-Host: %b\r\n" % host)
    lines += [b"%b: %b\r\n" % field for field in ours]
    if request.upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    elif request.chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n\r\n")
    elif request.content_length is not None:
        lines.append(b"Content-Length: %d\r\n\r\n" % request.content_length)
    else:
        lines.append(b"\r\n")
    return b"".join(lines)
