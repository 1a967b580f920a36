"""How other processes ask the steward to change something: one connection, many requests at a time."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

from gateway.state import wire
from gateway.state.command import CommandRefused, StewardUnavailable

__all__ = ["CommandRefused", "StewardClient", "StewardUnavailable"]


class StewardClient:
    """One connection to `steward.sock`, opened when first needed and again after a loss."""

    def __init__(self, sock_path: Path, deadline: float = 10.0) -> None:
        """`deadline` is the longest wait for one answer, in seconds."""
        self._path = sock_path
        self._deadline = deadline
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()

    async def call(self, op: str, **args: Any) -> dict[str, Any]:
        """Have `op` carried out and return its result.

        Raises `CommandRefused` when the steward says no, `StewardUnavailable` when there is no answer in time;
        then the change may or may not have happened, and nothing is sent again by itself.
        """
        try:
            async with asyncio.timeout(self._deadline):
                return await self._ask(op, args)
        except TimeoutError as fault:
            raise StewardUnavailable(f"{op}: no answer within {self._deadline:g} s") from fault
        except OSError as fault:
            raise StewardUnavailable(f"{op}: {fault.strerror or 'connection lost'}") from fault

    async def close(self) -> None:
        """End the connection; calls under way raise `StewardUnavailable`."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _ask(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        writer = await self._connected()
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            writer.write(wire.encode({"id": number, "op": op, "args": args}))
            await writer.drain()
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None:
                reader, self._writer = await asyncio.open_unix_connection(str(self._path))
                self._reading = asyncio.create_task(self._read(reader, self._writer), name="steward answers")
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self._settle(await wire.read(reader))
        except (EOFError, OSError, wire.WireFault):
            pass  # told to every waiting call below
        finally:
            self._writer = None
            writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(StewardUnavailable("connection to the steward lost"))

    def _settle(self, message: wire.Message) -> None:
        answer = self._waiting.get(message["id"])
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(CommandRefused(message["error"]["code"], message["error"]["message"]))
        else:
            answer.set_result(message["ok"])
