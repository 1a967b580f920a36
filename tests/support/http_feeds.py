"""How one byte stream reaches the gateway: whole, byte by byte, split at each CRLF, split at random places."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

Split = Callable[[bytes], Sequence[bytes]]


def whole(data: bytes) -> list[bytes]:
    """One write."""
    return [data]


def by_byte(data: bytes) -> list[bytes]:
    """One byte a write."""
    return [data[at : at + 1] for at in range(len(data))]


def at_crlf(data: bytes) -> list[bytes]:
    """One write up to and with each CRLF."""
    return re.findall(rb"(?s).*?\r\n|.+\Z", data)


def at_random(seed: int) -> Split:
    """One to twelve pieces; the same seed cuts the same bytes at the same places."""

    def split(data: bytes) -> list[bytes]:
        source = random.Random(seed * 1_000_003 + len(data))  # noqa: S311  # no secret: it has to repeat
        places = sorted({0, len(data), *(source.randrange(len(data) + 1) for _ in range(source.randint(1, 11)))})
        return [data[start:end] for start, end in itertools.pairwise(places)]

    return split


FEEDS: Final[dict[str, Split]] = {"whole": whole, "by byte": by_byte, "at CRLF": at_crlf, "at random": at_random(1)}


async def feed(port: int | Path, pieces: Sequence[bytes], *, half_close: bool = True, wait: float = 30.0) -> bytes:
    """Send the pieces one after the other on a new connection; return everything until the gateway ends it.

    `port` is one of this machine, or the path of a unix socket.

    Each piece is given to the kernel by itself, and the loop turns before the next, so that the gateway reads it by
    itself (`test_feeds_arrive_in_pieces` holds this). Sending ends where the gateway has closed.
    """
    loop = asyncio.get_running_loop()
    local = isinstance(port, Path)
    with socket.socket(socket.AF_UNIX if local else socket.AF_INET) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, str(port) if local else ("127.0.0.1", port))
        if not local:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                await loop.sock_sendall(sock, piece)
                if len(pieces) > 1:
                    await asyncio.sleep(0)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(wait):
                while data := await loop.sock_recv(sock, 65536):
                    got += data
        return got
