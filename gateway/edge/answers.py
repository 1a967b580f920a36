"""Answers of our own, as bytes."""

from __future__ import annotations

from email.utils import formatdate

from gateway.edge.response import status_line
from gateway.edge.services import Answer
from gateway.gate.request import RequestHead


def encode(answer: Answer, always: bytes, *, bodiless: bool, closing: bool) -> bytes:
    """Return the whole answer; `bodiless` for HEAD, with `Connection: close` where it is the last one.

    `always` are the lines that every answer of this connection has.
    """
    lines = [status_line(answer.status), always]
    lines += [b"%b: %b\r\n" % field for field in answer.headers]
    if answer.status != 204:
        lines.append(b"Content-Length: %d\r\n" % len(answer.body))
    lines.append(b"Connection: close\r\n\r\n" if closing else b"\r\n")
    if not bodiless:
        lines.append(answer.body)
    return b"".join(lines)


def always(scheme: str, hsts_max_age: int, wall: float) -> bytes:
    """Return the lines of every answer of ours at `wall` (seconds since the epoch).

    Date: RFC 9110 §6.6.1. Strict-Transport-Security: on https only (RFC 6797 §7.2), for this host and no other.
    """
    date = formatdate(wall, usegmt=True).encode("ascii")
    if scheme != "https":
        return b"Date: %b\r\n" % date
    return b"Date: %b\r\nStrict-Transport-Security: max-age=%d\r\n" % (date, hsts_max_age)


def asks_for_head(seen: bytes) -> bool:
    """Whether a refused message asks by HEAD, whatever else is wrong with it: then no body is read (§9.3.2)."""
    return seen.lstrip(b"\r\n").startswith(b"HEAD ")


def to_https(request: RequestHead, port: int) -> Answer:
    """Return the redirect of a plain request to the same target over https (308 keeps method and body)."""
    authority = request.host if port == 443 else f"{request.host}:{port}"
    location = b"https://" + authority.encode("ascii") + request.target
    return Answer(308, ((b"Location", location), (b"Cache-Control", b"no-store")), b"", close=True)
