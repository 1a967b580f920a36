"""A WebSocket's upgrade, byte by byte (RFC 6455 §1.3)."""

from __future__ import annotations

import base64

from gateway.edge.tunnel import accept_for

KEY = base64.b64encode(bytes(16))
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n" % accept_for(KEY)
)
"""The app's yes, without the empty line that ends it."""


def upgrade(path: bytes) -> bytes:
    """Return a client's request."""
    return (
        b"GET %b HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % (path, KEY)
    )
