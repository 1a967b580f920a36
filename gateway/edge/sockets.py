"""The socket options that make a cut a cut (promise P3).

Little may be in flight: TCP_NOTSENT_LOWAT bounds what the kernel accepts beyond what it has sent, the transport keeps
one piece at most. A reset (SO_LINGER with 0 s) throws away what was accepted and not sent; nothing leaves after.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

# Accepted and not sent when a cut comes: in the kernel LOWAT, and what one segment (64 KiB at most) goes beyond it; in
# the transport what is left of one read, for the app is stopped as soon as a byte waits. With a client that reads
# nothing that is 96 KiB, with one that stops 128 KiB.
READ: Final = 98304  # bytes taken from an app at once
READ_FOR_TLS: Final = 65536  # the same where they go out encrypted: the kernel is left with more of the piece before
READ_BODY: Final = 262144  # bytes taken from a client at once: no cut has to call them back
NOTSENT_LOWAT: Final = 32768
WRITE_HIGH: Final = 1  # bytes that wait: TLS takes 0 for always
WRITE_LOW: Final = 0
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
