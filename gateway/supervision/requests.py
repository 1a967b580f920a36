"""Both ends of `run/supervisor.sock`: one JSON line in, one JSON line out, for our own user only.

Control asks by it what an operator commands; the supervisor answers when it is done. Nothing secret passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

_LINE: Final = 1 << 20  # bytes of one request or answer
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid

Answer = Callable[[Mapping[str, Any], socket.socket], Awaitable[Mapping[str, Any]]]
"""Given a request and a descriptor of its connection, which is closed behind the answer."""


class SupervisorUnavailable(Exception):
    """The supervisor does not answer; whether it did what was asked is not known."""


async def ask(path: Path, request: Mapping[str, Any], patience: float) -> dict[str, Any]:
    """Send one request and return its answer. Raises SupervisorUnavailable, also after `patience` seconds."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=_LINE)
            writer.write(orjson.dumps(dict(request)) + b"\n")
            answer: dict[str, Any] = orjson.loads(await reader.readuntil(b"\n"))
            return answer
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        raise SupervisorUnavailable(f"{path}: {type(error).__name__}") from error
    finally:
        if writer is not None:
            writer.close()


async def serve(path: Path, answer: Answer) -> asyncio.Server:
    """Listen on `path` (0600). Raises OSError."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError):
            if _user(writer) in (0, os.geteuid()):
                request = orjson.loads(await reader.readuntil(b"\n"))
                with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as copy:
                    writer.write(orjson.dumps(dict(await answer(request, copy))) + b"\n")
                await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(connected, sock=_bound(path), limit=_LINE)


def _bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(sock.fileno(), 0o600)  # before bind(2)
    sock.bind(str(path))
    sock.setblocking(False)
    return sock


def _user(writer: asyncio.StreamWriter) -> int:
    sock: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)
