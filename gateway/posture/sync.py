"""Keeps the store's devices equal to what the MDM says: a plan (pure), and the loop that carries it out.

The last good answer stays with its age when the MDM fails: `read_at` simply is not renewed, and policy decides how
old is too old. A device that disappears from the MDM is kept as not managed, so that its records stay explained.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from gateway.posture.source import PostureSource, Reading, SourceFault, SourceUnavailable
from gateway.state.records import Device

_LOG = logging.getLogger("sekisho.posture")
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
    """What one reading changes: every row to store, the devices whose facts changed, how many entries were left out."""

    devices: tuple[Device, ...]
    changed: tuple[Changed, ...]
    unreadable: int = 0


def plan(known: Iterable[Device], reading: Reading, source: str) -> SyncPlan:
    """Compare one reading with what is stored for `source`; revoked certificates are ours and stay.

    A device is the same one when its uuid is: a row registered by hand, or by another MDM, passes to the MDM that
    lists the device now.
    """
    before = {device.uuid: device for device in known}
    rows: list[Device] = []
    listed = _newest(reading.devices)
    for uuid, device in listed.items():
        old = before.get(uuid)
        rows.append(replace(device, id=old.id, revoked_serials=old.revoked_serials) if old else device)
    # Not in the list any more: whatever was good about it is not known any longer.
    rows.extend(
        replace(gone, managed=False, compliant=None, in_grace=None, read_at=reading.read_at)
        for gone in before.values()
        if gone.source == source and gone.uuid not in listed
    )
    changes = (Changed(before.get(row.uuid), row) for row in rows)
    changed = tuple(change for change in changes if change.before is None or change.facts)
    return SyncPlan(tuple(rows), changed, reading.unreadable)


def _newest(devices: Iterable[Device]) -> dict[str, Device]:
    """By uuid. A device enrolled anew stands in the list twice for a while: the entry heard from last is the device."""
    found: dict[str, Device] = {}
    for device in devices:
        other = found.get(device.uuid)
        if other is None or (device.seen_at or 0.0) > (other.seen_at or 0.0):
            found[device.uuid] = device
    return found


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
    apply: Callable[[SyncPlan], Awaitable[None]]  # store it, and see it in every worker; raises SourceUnavailable
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
        self._round_over = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._not_before = 0.0
        self.failures = 0
        self.last_good: float | None = None
        self.last_fault = ""
        self.devices = 0

    async def run(self) -> None:
        """Read for ever; ends only by cancellation."""
        while True:
            self._wake.clear()
            retry_after = await self.once()
            self._not_before = self._ports.clock() + (retry_after or 0.0)
            try:
                await asyncio.wait_for(self._wake.wait(), next_delay(self._interval, self.failures, retry_after))
            except TimeoutError:
                continue

    def hurry(self) -> bool:
        """Read now instead of after the interval; False where the service asked us to wait."""
        if self._ports.clock() < self._not_before:
            return False
        self._wake.set()
        return True

    @property
    def under_way(self) -> bool:
        """Whether a reading goes on, or was asked for and begins now."""
        return self._one_at_a_time.locked() or self._wake.is_set()

    async def round_over(self, limit: float) -> bool:
        """Wait for the end of the next reading, `limit` seconds at most; say whether it came."""
        try:
            async with asyncio.timeout(limit):
                await self._round_over.wait()
        except TimeoutError:
            return False
        return True

    async def once(self) -> float | None:
        """Do one reading; return the service's own wish for the next one, in seconds."""
        async with self._one_at_a_time:
            try:
                return await self._read()
            finally:
                self._round_over.set()
                self._round_over = asyncio.Event()

    async def _read(self) -> float | None:
        try:
            reading = await self._source.read(self._ports.clock())
            await self._ports.apply(plan(tuple(self._ports.known()), reading, self._source.name))
        except Exception as error:  # noqa: BLE001 (logged and told: the loop must outlive every answer of a stranger)
            fault = error if isinstance(error, SourceUnavailable) else _internal(error)
            self.failures += 1
            self.last_fault = str(fault)
            await self._ports.failed(fault, self.failures)
            return fault.retry_after
        failures, self.failures = self.failures, 0
        self.last_good, self.last_fault, self.devices = reading.read_at, "", len(reading.devices)
        if failures:
            await self._ports.recovered(failures)
        return None


def _internal(error: Exception) -> SourceUnavailable:
    _LOG.error("a reading of the MDM failed", exc_info=error)
    return SourceUnavailable(SourceFault.INTERNAL, type(error).__name__)
