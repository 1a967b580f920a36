"""Frames between the steward and its clients: four bytes of length (big endian), then one JSON mapping.

Both unix sockets (`steward.sock`, `feed.sock`) speak it. A broken or too long frame ends the connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path
from typing import Any

import orjson

FRAME_LIMIT = 16 * 1024 * 1024  # bytes
STREAM_BUFFER = 1024 * 1024  # bytes read ahead
_HEAD = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")

Message = dict[str, Any]


class WireFault(Exception):
    """The other side sent something that is no frame of ours."""


def encode(message: Message) -> bytes:
    """One frame. Raises `WireFault` when it would be over the limit."""
    body = orjson.dumps(message)
    if len(body) > FRAME_LIMIT:
        raise WireFault(f"frame of {len(body)} bytes, at most {FRAME_LIMIT}")
    return _HEAD.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> Message:
    """The next frame. Raises `EOFError` (asyncio.IncompleteReadError) at the end, `WireFault` for nonsense."""
    (length,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length > FRAME_LIMIT:
        raise WireFault(f"frame of {length} bytes announced, at most {FRAME_LIMIT}")
    try:
        message = orjson.loads(await reader.readexactly(length))
    except orjson.JSONDecodeError as fault:
        raise WireFault("frame is not JSON") from fault
    if not isinstance(message, dict):
        raise WireFault("frame is not a mapping")
    return message


def peer_credentials(writer: asyncio.StreamWriter) -> tuple[int, int]:
    """Process id and user id of the other side of a unix socket (SO_PEERCRED, unix(7))."""
    sock = writer.get_extra_info("socket")
    pid, uid, _gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def listening(path: Path) -> socket.socket:
    """A unix socket at `path` that only our own user may connect to (0600 from its first moment on)."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(sock.fileno(), 0o600)  # before bind(2): the file gets this mode
    sock.bind(str(path))
    sock.listen(128)
    sock.setblocking(False)
    return sock
