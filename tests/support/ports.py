"""Ports for programs that want to be told theirs: nobody else gets one before it, or between its lives.

A port that was looked for and let go belongs to the next client of anybody's that connects to anything (clients' own
ports come from the same range), and for a minute after it closed. So it stays bound here, without listening: the kernel
gives it to nobody that does not ask for it by number, and lets a program with SO_REUSEADDR have it (socket(7)).
"""

from __future__ import annotations

import errno
import socket

_ADDRESSES = (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a machine without IPv6
_TRIES = 100
_held: list[socket.socket] = []  # as long as this process lives


def free_port() -> int:
    """A port of 127.0.0.1 and ::1 on which nobody listens, and which nobody else is given."""
    for _ in range(_TRIES):
        port, bound = 0, list[socket.socket]()
        try:
            for address, family in _ADDRESSES:
                bound.append(_bound(address, family, port))
                port = bound[-1].getsockname()[1]
        except OSError as error:
            if not bound or error.errno not in (errno.EADDRINUSE, *_ABSENT):
                raise
            if error.errno == errno.EADDRINUSE:
                bound[0].close()
                continue
        _held.extend(bound)
        return port
    raise OSError(errno.EADDRINUSE, "no port is free on both addresses")


def _bound(address: str, family: socket.AddressFamily, port: int) -> socket.socket:
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock
