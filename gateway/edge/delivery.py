"""How an app's answer is framed for this client: the app's own framing ends at the gateway (RFC 9112 §6)."""

from __future__ import annotations

from typing import NamedTuple

from gateway.edge.response import ResponseHead, rewritten
from gateway.gate.request import RequestHead


class Delivery(NamedTuple):
    """The head as the client gets it, and what follows from it."""

    head: bytes
    chunked: bool  # we chunk the body
    keep: bool  # the client's connection goes on behind the answer


def delivered(
    head: ResponseHead, request: RequestHead, origins: frozenset[bytes], local: bool, whole: int, keep: bool
) -> Delivery:
    """Return how the answer `head` of `request` goes out.

    `origins` are the app's own addresses, which the client never sees; `local` says that it is one of our pages;
    `whole` is the body's size where all of it is here, -1 = more comes; `keep` whether the connection may go on.
    """
    out, find, status = head.passed, head.find, head.status
    if head.rewritten:
        out += b"".join(rewritten(head, request, origins, local))
    if status == 101:
        return Delivery(out + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", chunked=False, keep=keep)
    chunked = False
    length = find.get(b"content-length")
    if length is not None:
        if status != 204:
            out += b"Content-Length: %b\r\n" % length
    elif request.method != "HEAD" and status not in (204, 304):
        if whole >= 0:
            out += b"Content-Length: %d\r\n" % whole
        elif request.version == "1.1":
            chunked = True
            out += b"Transfer-Encoding: chunked\r\n"
        else:
            keep = False
    return Delivery(out + (b"\r\n" if keep else b"Connection: close\r\n\r\n"), chunked, keep)
