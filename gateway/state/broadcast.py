"""The steward's end of the state feed: who follows it, what each has applied, and who has to be fenced.

A worker counts from the acknowledgement of its snapshot until its process is dead, connected or not: while it may
serve people from its view, no change counts as seen without it. One that does not acknowledge in time is killed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.state import wire
from gateway.state.leases import Key, Leases
from gateway.state.leasing import LeaseRounds
from gateway.state.tables import FeedChange, Tables, to_wire

_ROWS = 100  # in one frame
_BACKLOG = 64 * 1024 * 1024  # bytes waiting for one worker: beyond it the connection is given up

Fence = Callable[[str, int], Awaitable[None]]  # worker, process id: returns when the process is to be dead


@dataclass(slots=True, eq=False)
class Member:
    """One worker process that counts, or is about to."""

    name: str
    pid: int
    pidfd: int
    counted: bool = False
    writer: asyncio.StreamWriter | None = None  # None: not connected now
    behind: list[bytes] | None = None  # changes that wait for the end of its snapshot
    revision: int = 0  # applied and acknowledged
    sharing: bool = False  # told, on this connection, which rates are shared out
    heard: float = 0.0  # monotonic seconds of its last message
    counters: dict[str, object] = field(default_factory=dict)  # what it counted, as it last told


@dataclass(slots=True)
class Delivery:
    """Who has to acknowledge one revision, and what they closed because of it."""

    revision: int
    waiting: set[Member]
    closed: dict[str, dict[str, int]] = field(default_factory=dict)  # worker → session id → live connections
    fenced: list[str] = field(default_factory=list)
    last_ack: float = 0.0  # monotonic seconds
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Broadcast:
    """Serves `feed.sock`."""

    def __init__(
        self, tables: Tables, *, ack_limit: float, fence: Fence, used: Callable[[Mapping[str, float]], None],
        leases: Leases | None = None,
    ) -> None:  # fmt: skip
        """`ack_limit` in seconds; `used` takes what workers report of sessions' last use; `leases` shares out rates."""
        self._tables = tables
        self._ack_limit = ack_limit
        self._fence = fence
        self._used = used
        self._members: dict[tuple[str, int], Member] = {}
        self._open: list[Delivery] = []
        self._last_beat: dict[str, Any] | None = None
        self._rates = LeaseRounds(
            Leases({}, 1, 0) if leases is None else leases, asyncio.get_running_loop(), self._send_to
        )

    def expect(self, name: str, pid: int) -> None:
        """Count a worker that a former steward may have counted, until it shows up or is dead."""
        member = self._member(name, pid)
        if member is not None:
            member.counted = True
            self._rates.left((name, pid), dead=False)

    async def serve(self, path: Path) -> asyncio.Server:
        """Listen on `path` (0600)."""
        return await asyncio.start_unix_server(self._connected, sock=wire.listening(path), limit=wire.STREAM_BUFFER)

    def publish(self, after: int, revision: int, changes: list[FeedChange]) -> Delivery:
        """Tell everybody of a committed change, at once; returns what to wait for."""
        frame = b"".join(_delta(after, revision, changes))
        delivery = Delivery(revision, {member for member in self._members.values() if member.counted})
        for member in self._members.values():
            self._send(member, frame)
        if delivery.waiting:
            self._open.append(delivery)
        else:
            delivery.done.set()
        return delivery

    def beat(self, now: float, checkpoint: str, clock_jumped: bool) -> None:
        """Send one heartbeat; `now` is the steward's time."""
        self._last_beat = {
            "t": "beat", "wall": now, "mono": time.monotonic(), "revision": self._tables.revision,
            "checkpoint": checkpoint, "clock_jumped": clock_jumped,
        }  # fmt: skip
        frame = wire.encode(self._last_beat)
        for member in self._members.values():
            if member.behind is None:
                self._send(member, frame)

    async def seen(self, delivery: Delivery) -> Delivery:
        """Wait until every counted worker has applied the change; those that are late are fenced first."""
        try:
            async with asyncio.timeout(self._ack_limit):
                await delivery.done.wait()
        except TimeoutError:
            late = list(delivery.waiting)
            await asyncio.gather(*(self._fence_member(member, delivery) for member in late))
        return delivery

    def status(self) -> list[dict[str, object]]:
        """One mapping a worker: name, pid, counted, connected, revision, seconds of silence, and what it counts."""
        return [
            {
                "name": member.name, "pid": member.pid, "counted": member.counted,
                "connected": member.writer is not None, "revision": member.revision,
                "silent": round(time.monotonic() - member.heard, 1) if member.heard else None,
                "counters": member.counters,
            }
            for member in sorted(self._members.values(), key=lambda each: each.name)
        ]  # fmt: skip

    def shared_rates(self) -> dict[str, int]:
        """How many names have a rate that is shared out now, and reports that there was no room for."""
        return {"names": len(self._rates.leases), "crowded": self._rates.leases.crowded}

    # -- members --------------------------------------------------------------------------------------------------

    def _member(self, name: str, pid: int) -> Member | None:
        known = self._members.get((name, pid))
        if known is not None:
            return known
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        member = self._members[name, pid] = Member(name, pid, pidfd)
        asyncio.get_running_loop().add_reader(pidfd, self._dead, member)
        return member

    def _dead(self, member: Member) -> None:
        """The process is gone: nobody is served from its view any more."""
        asyncio.get_running_loop().remove_reader(member.pidfd)
        os.close(member.pidfd)
        self._members.pop((member.name, member.pid), None)
        self._rates.left((member.name, member.pid), dead=True)
        for delivery in list(self._open):
            self._settle(delivery, member)

    async def _fence_member(self, member: Member, delivery: Delivery) -> None:
        delivery.fenced.append(member.name)
        await self._fence(member.name, member.pid)
        while member in delivery.waiting:
            await delivery.done.wait()

    def _settle(self, delivery: Delivery, member: Member) -> None:
        delivery.waiting.discard(member)
        if not delivery.waiting:
            delivery.done.set()
            self._open.remove(delivery)

    # -- connections ----------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        member: Member | None = None
        try:
            pid, uid = wire.peer_credentials(writer)
            hello = await wire.read(reader)
            if uid != os.geteuid() or hello.get("t") != "hello":
                return
            member = self._member(str(hello["worker"]), pid)
            if member is None:
                return
            if member.writer is not None:
                member.writer.close()
            self._apart(member)
            await self._send_snapshot(member, writer)
            while True:
                self._heard(member, await wire.read(reader))
        except (EOFError, OSError, wire.WireFault):
            pass  # a lost connection: the member stays counted until its process is dead
        finally:
            if member is not None and member.writer is writer:
                member.writer = None
                member.behind = None
                self._apart(member)
            writer.close()

    async def _send_snapshot(self, member: Member, writer: asyncio.StreamWriter) -> None:
        """Everything as of now, in slices; changes that come meanwhile wait behind it.

        The heartbeat of that moment comes with its last frame: what lives is judged by the new state as soon as that is
        complete, and must not be taken for stale then. A beat tells its own age: an old one makes nothing fresher.
        """
        rows, revision, beat = self._tables.snapshot(), self._tables.revision, self._last_beat
        member.behind, member.writer = [], writer
        for start in range(0, len(rows), _ROWS):
            part = [to_wire(row) for row in rows[start : start + _ROWS]]
            writer.write(wire.encode({"t": "snapshot", "changes": part}))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(wire.encode({"t": "snapshot_end", "revision": revision, "beat": beat}))
        if member.writer is writer:
            behind, member.behind = member.behind or [], None
            writer.writelines([*behind, *([wire.encode(self._last_beat)] if self._last_beat else [])])

    def _apart(self, member: Member) -> None:
        """The worker keeps to its parts of the rates until it follows again."""
        member.sharing = False
        if member.counted and (member.name, member.pid) in self._members:
            self._rates.left((member.name, member.pid), dead=False)

    def _send_to(self, key: Key, frame: bytes) -> None:
        member = self._members.get(key)
        if member is not None:
            self._send(member, frame)

    def _send(self, member: Member, frame: bytes) -> None:
        if member.writer is None:
            return
        if member.behind is not None:
            member.behind.append(frame)
            return
        if member.writer.transport.get_write_buffer_size() > _BACKLOG:
            member.writer.transport.abort()
            return
        member.writer.write(frame)

    def _heard(self, member: Member, message: wire.Message) -> None:
        kind = message["t"]
        member.heard = time.monotonic()
        if kind == "ack":
            self._acknowledged(member, message["revision"], message["closed"])
        elif kind == "use":
            member.counters = message.get("counters") or member.counters
            self._used(message["used"])
        elif kind == "ask":
            found = self._tables.knows_token(message["token"])
            self._send(member, wire.encode({"t": "answer", "id": message["id"], "found": found}))
        elif kind == "want":
            self._rates.heard((member.name, member.pid), message)
        else:
            raise wire.WireFault(f"unexpected message {kind!r}")

    def _acknowledged(self, member: Member, revision: int, closed: dict[str, int]) -> None:
        member.counted = True
        member.revision = revision
        if not member.sharing:
            member.sharing = True
            self._rates.joined((member.name, member.pid))
        for delivery in list(self._open):
            if delivery.revision > revision or member not in delivery.waiting:
                continue
            if closed:  # by name: while one of that name drains and its follower serves, both count
                counts = delivery.closed.setdefault(member.name, {})
                for session_id, count in closed.items():
                    counts[session_id] = counts.get(session_id, 0) + count
            delivery.last_ack = time.monotonic()
            self._settle(delivery, member)


def _delta(after: int, revision: int, changes: list[FeedChange]) -> Iterator[bytes]:
    """The frames of one change; all but the last say that more follows."""
    for start in range(0, len(changes), _ROWS):
        part = [to_wire(change) for change in changes[start : start + _ROWS]]
        more = start + _ROWS < len(changes)
        yield wire.encode({"t": "delta", "after": after, "revision": revision, "changes": part, "more": more})
