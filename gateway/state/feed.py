"""The worker's end of the state feed: a snapshot, then every change in order, each acknowledged once applied.

A lost connection is opened again at once and gives a fresh snapshot. Until that is complete the old view serves on,
and its heartbeat ages: `View.age` is what makes a worker refuse. Work on the loop is cut into slices of a millisecond.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from gateway.state import wire
from gateway.state.changes import Change, RowChange
from gateway.state.view import View
from policies.compile import CompiledPolicy, compile_policy
from policies.model import PolicyIR

SLICE = 0.001  # seconds of the loop's time
_ROWS_BETWEEN_LOOKS = 16
_RECONNECT = 0.05  # seconds
_UNTIL_CLOSED = 2  # turns of the loop after which connections that were cut are closed: only then may we say so

OnChange = Callable[[Change], Mapping[str, int]]


class SharesRates(Protocol):
    """Who takes what the steward says of rates that several workers share."""

    def told(self, message: wire.Message) -> None:
        """Apply it. Raises KeyError, TypeError or ValueError for what is no message of ours."""

    def lost(self) -> None:
        """The connection ended."""


class FeedClient:
    """Keeps one `View` true. `run` never returns; cancel it to stop.

    `on_change` is called in the loop after each applied change and returns how many live connections it closed for
    each session id; the acknowledgement, which the steward and the CISO's receipt wait for, carries these counts.
    If it raises, `run` raises: a worker that cannot apply a change must not go on.
    """

    def __init__(self, sock_path: Path, worker: str, view: View, on_change: OnChange) -> None:
        self._path = sock_path
        self._worker = worker
        self._view = view
        self._on_change = on_change
        self._writer: asyncio.StreamWriter | None = None
        self._asks: dict[int, asyncio.Future[bool]] = {}
        self._ids = itertools.count(1)
        self._partial: Change | None = None  # a change of which more frames follow
        self.rates: SharesRates | None = None
        self.counted = asyncio.Event()  # set once the first snapshot is applied and acknowledged

    async def run(self) -> None:
        """Connect, follow, and connect again after a loss."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=wire.STREAM_BUFFER)
            except OSError:
                await asyncio.sleep(_RECONNECT)
                continue
            try:
                await self._follow(reader, writer)
            except (EOFError, OSError, wire.WireFault):
                await asyncio.sleep(_RECONNECT)
            finally:
                self._writer = None
                writer.close()
                if self.rates is not None:
                    self.rates.lost()
                for answer in self._asks.values():
                    answer.cancel()
                self._asks.clear()

    def report_use(self, used: Mapping[str, float], counters: Mapping[str, object] | None = None) -> None:
        """Tell when each session was last used (wall seconds), and what this worker counted since it started.

        Lost while disconnected: the next report covers it.
        """
        if self._writer is not None and (used or counters):
            self._writer.write(wire.encode({"t": "use", "used": dict(used), "counters": dict(counters or {})}))

    def say(self, message: wire.Message) -> bool:
        """Tell the steward something; returns whether there is a connection to tell it over."""
        if self._writer is None:
            return False
        self._writer.write(wire.encode(message))
        return True

    async def ask(self, token_hash: str) -> bool:
        """Whether the steward knows this token (hex SHA-256) as a live one.

        The answer comes behind every change before it, so True means the view holds it by now. Without a connection
        the answer is False; the caller bounds the wait (`settings.timeouts.unknown_ask`).
        """
        if self._writer is None:
            return False
        number = next(self._ids)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asks[number] = answer
        try:
            self._writer.write(wire.encode({"t": "ask", "id": number, "token": token_hash}))
            return await answer
        except asyncio.CancelledError:
            if answer.cancelled() and not _cancelling():
                return False  # the connection went, not our caller
            raise
        finally:
            self._asks.pop(number, None)

    # -- one connection -------------------------------------------------------------------------------------------

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.encode({"t": "hello", "v": 1, "worker": self._worker, "pid": os.getpid()}))
        gc.disable()  # walking through a whole city's objects would stop the loop for a tenth of a second
        try:
            await self._take_snapshot(reader, writer)
        finally:
            gc.enable()
        gc.freeze()
        self._writer = writer
        while True:
            message = await wire.read(reader)
            kind = message["t"]
            if kind == "delta":
                await self._take_delta(message, writer)
            elif kind == "beat":
                self._beat(message)
            elif kind == "answer":
                self._answer(message)
            elif kind == "shares":
                self._share(message)
            else:
                raise wire.WireFault(f"unexpected message {kind!r}")

    async def _take_snapshot(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._partial = None
        fresh = View()
        change = Change(0)
        while True:
            message = await wire.read(reader)
            if message["t"] == "snapshot_end":
                break
            if message["t"] != "snapshot":
                raise wire.WireFault(f"{message['t']!r} inside a snapshot")
            await self._apply(fresh, message["changes"], change)
        revision = message["revision"]
        fresh.revision = revision
        change = Change(revision)
        first = not self.counted.is_set()
        self._view.adopt(fresh, change)
        if message.get("beat") is not None:  # a steward of an earlier version sends none
            self._beat(message["beat"])
        await self._acknowledge(writer, revision, {} if first else self._on_change(change))
        self.counted.set()

    async def _take_delta(self, message: wire.Message, writer: asyncio.StreamWriter) -> None:
        if message["after"] != self._view.revision:
            raise wire.WireFault(f"change after revision {message['after']}, ours is {self._view.revision}")
        change = self._partial or Change(message["revision"])
        await self._apply(self._view, message["changes"], change)
        if message["more"]:
            self._partial = change
            return
        self._partial = None
        self._view.revision = message["revision"]
        await self._acknowledge(writer, message["revision"], self._on_change(change))

    async def _acknowledge(self, writer: asyncio.StreamWriter, revision: int, closed: Mapping[str, int]) -> None:
        for _ in range(_UNTIL_CLOSED if closed else 0):
            await asyncio.sleep(0)
        writer.write(wire.encode({"t": "ack", "revision": revision, "closed": dict(closed)}))

    def _beat(self, message: wire.Message) -> None:
        self._view.beat(message["wall"], message["mono"], message["checkpoint"], message["clock_jumped"])

    async def _apply(self, view: View, changes: Sequence[Sequence[Any]], into: Change) -> None:
        started = perf_counter()
        for start in range(0, len(changes), _ROWS_BETWEEN_LOOKS):
            for change in changes[start : start + _ROWS_BETWEEN_LOOKS]:
                apply_one(view, (change[0], change[1], change[2]), into)
            if perf_counter() - started > SLICE:
                await asyncio.sleep(0)
                started = perf_counter()

    def _share(self, message: wire.Message) -> None:
        if self.rates is None:
            return  # this worker has no rates
        try:
            self.rates.told(message)
        except (KeyError, TypeError, ValueError) as fault:
            raise wire.WireFault("shares that are none") from fault

    def _answer(self, message: wire.Message) -> None:
        answer = self._asks.get(message["id"])
        if answer is not None and not answer.done():
            answer.set_result(bool(message["found"]))


def apply_one(view: View, change: RowChange, into: Change) -> None:
    """Apply one row change; an active policy is compiled beside the one in force and swapped by one assignment."""
    table, _key, row = change
    if table == "policy":
        if row is not None:
            view.set_policy(compile_wire(row["ir"]), into)
    else:
        view.apply((change,), into)


def compile_wire(ir: dict[str, Any]) -> CompiledPolicy:
    """The policy that the steward sent, compiled. Raises what `PolicyIR.from_wire` raises on a broken mapping."""
    return compile_policy(PolicyIR.from_wire(ir))


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
