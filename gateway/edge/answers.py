"""Answers of our own, as bytes."""

from __future__ import annotations

from gateway.edge.response import status_line
from gateway.edge.services import Answer
from gateway.gate.request import RequestHead


def encode(answer: Answer, request: RequestHead | None, *, closing: bool) -> bytes:
    """Return the whole answer; without a body for HEAD, with `Connection: close` where it is the last one."""
    lines = [status_line(answer.status)]
    lines += [b"%b: %b\r\n" % field for field in answer.headers]
    if answer.status != 204:
        lines.append(b"Content-Length: %d\r\n" % len(answer.body))
    lines.append(b"Connection: close\r\n\r\n" if closing else b"\r\n")
    if request is None or request.method != "HEAD":
        lines.append(answer.body)
    return b"".join(lines)


def to_https(request: RequestHead, port: int) -> Answer:
    """Return the redirect of a plain request to the same target over https (308 keeps method and body)."""
    authority = request.host if port == 443 else f"{request.host}:{port}"
    location = b"https://" + authority.encode("ascii") + request.target
    return Answer(308, ((b"Location", location), (b"Cache-Control", b"no-store")), b"", close=True)
