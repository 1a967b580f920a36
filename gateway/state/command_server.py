"""Serves `steward.sock`: one frame a command, answered when it is done, in any order."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.state import wire
from gateway.state.command import CommandRefused

_AT_ONCE = 1024  # commands of one connection under way; more wait in the socket

Execute = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]


class CommandServer:
    """`execute(op, args)` answers or raises `CommandRefused`; any other fault is answered as `internal_error`."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, path: Path) -> asyncio.Server:
        """Listen on `path` (0600)."""
        return await asyncio.start_unix_server(self._connected, sock=wire.listening(path), limit=wire.STREAM_BUFFER)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        room = asyncio.Semaphore(_AT_ONCE)
        try:
            _pid, uid = wire.peer_credentials(writer)
            while uid == os.geteuid():
                message = await wire.read(reader)
                await room.acquire()
                task = asyncio.create_task(self._answer(message, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(lambda _: room.release())
        except (EOFError, OSError, wire.WireFault):
            pass  # the client went; what it asked for is carried out all the same
        finally:
            writer.close()

    async def _answer(self, message: wire.Message, writer: asyncio.StreamWriter) -> None:
        answer: wire.Message = {"id": message.get("id")}
        args = message.get("args")
        try:
            answer["ok"] = await self._execute(str(message.get("op")), args if isinstance(args, dict) else {})
        except CommandRefused as refusal:
            answer["error"] = {"code": refusal.code, "message": refusal.message}
        except Exception as fault:  # noqa: BLE001 (answered as a refusal and printed; nothing was granted)
            traceback.print_exception(fault, file=sys.stderr)
            answer["error"] = {"code": "internal_error", "message": type(fault).__name__}
        if not writer.is_closing():
            writer.write(wire.encode(answer))
