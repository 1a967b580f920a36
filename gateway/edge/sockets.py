"""The socket options that make a cut a cut (promise P3).

Little may be in flight: TCP_NOTSENT_LOWAT bounds what the kernel accepts beyond what it has sent, the transport's
own buffer is small too. A reset (SO_LINGER with 0 s) throws away what was accepted and not sent; nothing leaves after.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

# Accepted and not sent when a cut comes is at most LOWAT in the kernel, and in the transport what it held when the app
# was stopped and one read more: 112 KiB.
READ: Final = 65536  # bytes taken from an app at once
NOTSENT_LOWAT: Final = 32768
WRITE_HIGH: Final = 16384
WRITE_LOW: Final = 8192
_TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; the socket module has no name for it
LINGER_ZERO: Final = struct.pack("ii", 1, 0)


def _tcp_socket(transport: asyncio.BaseTransport) -> socket.socket | None:
    sock: socket.socket | None = transport.get_extra_info("socket")
    return sock if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6) else None


def tune(transport: asyncio.Transport) -> None:
    """Keep little in flight towards a client."""
    transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
    sock = _tcp_socket(transport)
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)


def unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes the other end has not acknowledged yet: the transport's, and the socket's send queue."""
    waiting = transport.get_write_buffer_size()
    sock = _tcp_socket(transport)
    if sock is None or sock.fileno() < 0:
        return waiting
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return waiting + int.from_bytes(answer, sys.byteorder)


def reset(transport: asyncio.Transport) -> None:
    """Close at once with a reset; what was not sent is thrown away. Harmless on a transport already closed."""
    if not transport.is_closing():
        sock = _tcp_socket(transport)
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    transport.abort()
