"""What a client says before TLS begins that Python's library does not act on: the protocols that it offers (ALPN).

RFC 7301 §3.2 wants a client without a protocol of ours told so (`no_application_protocol`); the library would go on as
if nothing had been offered, and the client, which wants HTTP/2, would speak it. The first record is looked at while it
stays in the socket: the handshake reads it again, whole. Whatever is not a plain ClientHello is left to the library.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Final

OURS: Final = b"http/1.1"
NO_APPLICATION_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"  # a fatal alert of 120 (RFC 8446 §6)
_RECORD: Final = 5  # bytes of a record's header: type, version, length
_MOST: Final = 65536  # more than a record can hold
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_ALPN: Final = 16
_BEFORE_SESSION: Final = 4 + 2 + 32  # handshake header, version, random


def offered(record: bytes) -> tuple[bytes, ...]:
    """Return the protocols that a first record offers (RFC 8446 §4.1.2), () where there are none or it is no hello."""
    if len(record) < _RECORD + _BEFORE_SESSION or record[0] != _HANDSHAKE or record[_RECORD] != _CLIENT_HELLO:
        return ()
    hello = memoryview(record)[_RECORD:]
    try:
        at = _BEFORE_SESSION
        at += 1 + hello[at]  # session id
        at += 2 + _number(hello, at)  # cipher suites
        at += 1 + hello[at]  # compression methods
        end = at + 2 + _number(hello, at)
        at += 2
        while at + 4 <= end:
            kind, size = struct.unpack_from("!HH", hello, at)
            if kind == _ALPN:
                return _names(hello[at + 4 : at + 4 + size])
            at += 4 + size
    except (IndexError, struct.error):
        pass  # cut short or badly made: the library says so
    return ()


def _number(data: memoryview, at: int) -> int:
    (number,) = struct.unpack_from("!H", data, at)
    return int(number)


def _names(extension: memoryview) -> tuple[bytes, ...]:
    names: list[bytes] = []
    at = 2
    while at < len(extension):
        size = extension[at]
        names.append(bytes(extension[at + 1 : at + 1 + size]))
        at += 1 + size
    return tuple(names)


class NoApplicationProtocol(ssl.SSLError):
    """The client offers protocols, none of which is ours; it has been told."""

    reason = "NO_APPLICATION_PROTOCOL"


async def check_protocols(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Wait for the first record, which stays in the socket; the caller bounds the wait.

    Raises NoApplicationProtocol after the client was told so, OSError where the connection fails.
    """
    record = await _peek(loop, sock, _RECORD)
    if len(record) == _RECORD and record[0] == _HANDSHAKE:
        record = await _peek(loop, sock, _RECORD + struct.unpack_from("!H", record, 3)[0])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    protocols = offered(record)
    if protocols and OURS not in protocols:
        _tell(sock)
        raise NoApplicationProtocol


async def _peek(loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int) -> bytes:
    """Return the first `size` bytes once they came, fewer where no more will."""
    with contextlib.suppress(BlockingIOError):
        there = sock.recv(size, socket.MSG_PEEK)
        if len(there) in (size, 0):
            return there
    # Until then the kernel keeps quiet (socket(7)): bytes one by one cost us nothing.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)
    return sock.recv(size, socket.MSG_PEEK)


def _tell(sock: socket.socket) -> None:
    """Send the alert; what the client sent is read first, or the reset that answers unread bytes would undo it."""
    sock.recv(_MOST)
    sock.send(NO_APPLICATION_PROTOCOL)
    sock.shutdown(socket.SHUT_WR)
