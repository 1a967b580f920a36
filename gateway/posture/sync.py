"""Keeps the store's devices equal to what the MDM says: a plan (pure), and the loop that carries it out.

The last good answer stays with its age when the MDM fails: `read_at` simply is not renewed, and policy decides how
old is too old. A device that disappears from the MDM is kept as not managed, so that its records stay explained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from gateway.posture.source import PostureSource, Reading, SourceUnavailable
from gateway.state.records import Device

BACKOFF_FLOOR = 5.0
BACKOFF_CEILING = 300.0
_FACTS = ("owner", "os_version", "managed", "compliant", "in_grace", "encrypted", "jailbroken", "patched_at", "failing")


@dataclass(frozen=True, slots=True)
class Changed:
    """One device whose facts differ from the last reading (ages do not count)."""

    before: Device | None
    after: Device

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of the facts that differ; all of them for a new device."""
        if self.before is None:
            return _FACTS
        return tuple(name for name in _FACTS if getattr(self.before, name) != getattr(self.after, name))


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What one reading changes: every row to store, and the devices whose facts changed."""

    devices: tuple[Device, ...]
    changed: tuple[Changed, ...]


def plan(known: Iterable[Device], reading: Reading, source: str) -> SyncPlan:
    """Compare one reading with what is stored for `source`; revoked certificates are ours and stay."""
    before = {device.id: device for device in known if device.source == source}
    rows: list[Device] = []
    for device in reading.devices:
        old = before.get(device.id)
        rows.append(replace(device, revoked_serials=old.revoked_serials) if old else device)
    listed = {device.id for device in reading.devices}
    for gone in (device for device in before.values() if device.id not in listed):
        # Not in the list any more: whatever was good about it is not known any longer.
        rows.append(replace(gone, managed=False, compliant=None, in_grace=None, read_at=reading.read_at))
    changes = (Changed(before.get(row.id), row) for row in rows)
    return SyncPlan(tuple(rows), tuple(change for change in changes if change.before is None or change.facts))


def next_delay(interval: float, failures: int, retry_after: float | None) -> float:
    """Seconds to the next reading: the interval, or a growing wait that is never shorter than the service asked."""
    if failures == 0:
        return interval
    grown = min(BACKOFF_CEILING, BACKOFF_FLOOR * 2.0 ** (failures - 1))
    return max(grown, retry_after or 0.0)


@dataclass(frozen=True, slots=True)
class SyncPorts:
    """What the loop needs of its surroundings."""

    known: Callable[[], Iterable[Device]]
    apply: Callable[[SyncPlan], Awaitable[None]]  # store it, and see it in every worker
    failed: Callable[[SourceUnavailable, int], Awaitable[None]]  # the fault, and how many in a row
    recovered: Callable[[int], Awaitable[None]]  # after so many failures
    clock: Callable[[], float]


class PostureSync:
    """The loop: read, compare, store; on a fault keep what is there and come back later."""

    def __init__(self, source: PostureSource, ports: SyncPorts, interval: float) -> None:
        self._source = source
        self._ports = ports
        self._interval = interval
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self.failures = 0
        self.last_good: float | None = None
        self.last_fault = ""

    async def run(self) -> None:
        """Read for ever; ends only by cancellation."""
        while True:
            retry_after = await self.once()
            delay = next_delay(self._interval, self.failures, retry_after)
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), delay)
            except TimeoutError:
                continue

    def hurry(self) -> None:
        """Read now (a person pressed 再確認) instead of after the interval."""
        self._wake.set()

    async def once(self) -> float | None:
        """Do one reading; return the service's own wish for the next one, in seconds."""
        async with self._one_at_a_time:
            try:
                reading = await self._source.read(self._ports.clock())
            except SourceUnavailable as fault:
                self.failures += 1
                self.last_fault = str(fault)
                await self._ports.failed(fault, self.failures)
                return fault.retry_after
            await self._ports.apply(plan(tuple(self._ports.known()), reading, self._source.name))
            if self.failures:
                failures, self.failures = self.failures, 0
                await self._ports.recovered(failures)
            self.last_good, self.last_fault = reading.read_at, ""
            return None
