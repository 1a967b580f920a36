"""Accepting connections, also while the process or the machine has run out of something.

The event loop's own servers do not do for this: uvloop's closes its socket, without a word, at the first accept() that
fails for want of memory, and the worker would never accept again. Here a failure is counted, what has come is turned
away with the descriptor that is kept for it (as libuv and nginx do), and accepting goes on by itself a moment later.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable
from typing import Final

from gateway.edge.sockets import LINGER_ZERO

RETRY: Final = 0.25  # seconds until accept() is called again after it failed
_BATCH: Final = 64  # connections taken before others get their turn
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
_NOTHING_THERE: Final = (errno.EAGAIN, errno.EINTR, errno.ECONNABORTED)
_OWN: Final = 128  # descriptors for journals, feed, listeners, control, and idle connections to apps


class Acceptor:
    """Takes the connections of one listening socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        taken: Callable[[socket.socket], None],
        failed: Callable[[str], None],
    ) -> None:
        """`taken` gets each connection, non-blocking; `failed` the name of an error (`EMFILE`) for each one lost."""
        self._loop = loop
        self._sock = sock
        self._taken = taken
        self._failed = failed
        self._spare = _spare()
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._again = None
        self._loop.add_reader(self._sock, self._accept)

    def stop(self) -> None:
        """Close the listening socket; what it accepted goes on."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        if self._spare is not None:
            os.close(self._spare)

    def _accept(self) -> None:
        try:
            for _ in range(_BATCH):
                plain = self._sock.accept()[0]
                plain.setblocking(False)
                self._taken(plain)
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                self._pause(error)

    def _pause(self, error: OSError) -> None:
        """Turn away what waits, where only descriptors are short, and accept no more for a moment."""
        self._failed(errno.errorcode.get(error.errno or 0, "OSError"))
        if error.errno in _NO_DESCRIPTOR and self._spare is not None:
            os.close(self._spare)
            refuse_one(self._sock)
            self._spare = None
        if self._spare is None:
            self._spare = _spare()
        self._loop.remove_reader(self._sock)
        self._again = self._loop.call_later(RETRY, self.start)


def refuse_one(sock: socket.socket) -> None:
    """Reset one connection that waits to be accepted."""
    try:
        plain = sock.accept()[0]
    except OSError:
        return
    refuse(plain)


def refuse(plain: socket.socket) -> None:
    """Reset an accepted connection."""
    if plain.family != socket.AF_UNIX:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    plain.close()


def _spare() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def connections_that_fit(wanted: int) -> int:
    """Raise this process's limit of open files as far as it may; return how many client connections it leaves room for.

    Each may need a second descriptor towards an app. Below `wanted` the worker refuses earlier than its settings say,
    instead of running out of descriptors in the midst of a request.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + _OWN
    if hard == resource.RLIM_INFINITY or soft < min(needed, hard):
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(min(wanted, (soft - _OWN) // 2), 1)
