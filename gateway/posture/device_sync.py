"""Posture sync as control runs it: what a reading changes is recorded, then stored; how it goes is told in `status`.

A fact goes to the journal before it counts: a reading that cannot be recorded is not stored, the former one ages, and
policy decides how old is too old.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp

from audit.event import Action, event
from audit.journal import JournalUnhealthy
from gateway.posture.graph import GraphAccess, GraphSource
from gateway.posture.source import SourceFault, SourceUnavailable
from gateway.posture.sync import Changed, PostureSync, SyncPlan, SyncPorts
from gateway.state.command import CommandRefused, StewardUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from audit.journal import Journal
    from gateway.settings_parts.services import Mdm
    from gateway.state.steward_client import StewardClient
    from gateway.state.store import Reader

RECHECK_EACH: Final = 10.0  # seconds between two readings that people ask for: the MDM's quota is everybody's
RECHECK_WAIT: Final = 5.0  # seconds that a person who asked waits for the reading
FAILED_RECORD_EACH: Final = 60.0  # seconds between two records of the same kind of fault
_AT_ONCE: Final = 250  # devices in one command: a sign-in waits for one of them at most
_log = logging.getLogger("sekisho.posture")


class DeviceSync:
    """The sync of one installation."""

    def __init__(
        self, mdm: Mdm, reader: Reader, steward: StewardClient, journal: Journal, clock: Callable[[], float]
    ) -> None:
        self._mdm = mdm
        self._steward = steward
        self._journal = journal
        self._clock = clock
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=_trust(mdm)))
        access = GraphAccess(
            mdm.base_url, mdm.token_url, mdm.scope, mdm.client_id, mdm.client_secret_file, mdm.timeout
        )  # fmt: skip
        ports = SyncPorts(reader.devices, self._apply, self._failed, self._recovered, clock)
        self._sync = PostureSync(GraphSource(access, self._http), ports, mdm.interval)
        self._hurried = float("-inf")
        self._told: dict[SourceFault, float] = {}

    async def run(self) -> None:
        """Read for ever; ends only by cancellation."""
        try:
            await self._sync.run()
        finally:
            await self._http.close()

    async def hurry(self) -> bool:
        """Read now because a person asks, and wait for it; False where one has to be content with what is known.

        At most one such reading each ten seconds, whoever asks, and none before the service's own `Retry-After`.
        """
        now = self._clock()
        if now - self._hurried >= RECHECK_EACH and self._sync.hurry():
            self._hurried = now
        elif not self._sync.under_way:
            return False
        return await self._sync.round_over(RECHECK_WAIT)

    def state(self) -> dict[str, object]:
        """How the sync is doing: source, interval (s), age of the last good reading (s), failures in a row, fault."""
        good = self._sync.last_good
        return {
            "source": self._mdm.source,
            "interval": self._mdm.interval,
            "devices": self._sync.devices,
            "read_at": good,
            "read_age": None if good is None else max(0.0, self._clock() - good),
            "failures": self._sync.failures,
            "fault": self._sync.last_fault,
        }

    # -- what the loop does with a reading --------------------------------------------------------------------------

    async def _apply(self, made: SyncPlan) -> None:
        now = self._clock()
        records = [_changed(change, now) for change in made.changed]
        records.append(event(Action.POSTURE_SYNCED, now, {
            "sekisho.posture.source": self._mdm.source, "sekisho.posture.devices": len(made.devices),
            "sekisho.posture.changed": len(made.changed), "sekisho.posture.unreadable": made.unreadable,
        }))  # fmt: skip
        try:
            await asyncio.gather(*(self._journal.record(record) for record in records))
            for start in range(0, len(made.devices), _AT_ONCE):
                part = made.devices[start : start + _AT_ONCE]
                await self._steward.call("devices.put", devices=[device.to_row() for device in part])
        except JournalUnhealthy:
            raise SourceUnavailable(SourceFault.NOT_KEPT, "the journal takes no records") from None
        except StewardUnavailable:
            raise SourceUnavailable(SourceFault.NOT_KEPT, "the steward does not answer") from None
        except CommandRefused as refusal:
            raise SourceUnavailable(SourceFault.NOT_KEPT, refusal.code) from None

    async def _failed(self, fault: SourceUnavailable, failures: int) -> None:
        _log.warning("no reading of the MDM (%d in a row): %s", failures, fault)
        now = self._clock()
        if now - self._told.get(fault.fault, float("-inf")) < FAILED_RECORD_EACH:
            return
        self._told[fault.fault] = now
        await self._record(Action.POSTURE_FAILED, {
            "event.outcome": "failure", "error.code": fault.fault.value, "error.message": fault.detail,
            "sekisho.count": failures,
        })  # fmt: skip

    async def _recovered(self, failures: int) -> None:
        _log.warning("the MDM answers again after %d failures", failures)
        self._told.clear()
        await self._record(Action.POSTURE_RECOVERED, {"event.outcome": "success", "sekisho.count": failures})

    async def _record(self, action: Action, fields: dict[str, object]) -> None:
        record = event(action, self._clock(), {"sekisho.posture.source": self._mdm.source, **fields})
        try:
            await self._journal.record(record)
        except JournalUnhealthy:
            _log.error("%s could not be recorded", action.value)


def _changed(change: Changed, now: float) -> dict[str, object]:
    """The record of one device: what its facts were and are."""
    after, before = change.after, change.before
    facts = {
        name: [None if before is None else _plain(getattr(before, name)), _plain(getattr(after, name))]
        for name in change.facts
    }
    return event(Action.DEVICE_CHANGED, now, {
        "device.id": after.id, "sekisho.device.uuid": after.uuid, "sekisho.device.name": after.name,
        "sekisho.device.managed": after.managed, "sekisho.device.compliant": after.compliant,
        "sekisho.device.in_grace": after.in_grace, "sekisho.device.encrypted": after.encrypted,
        "sekisho.device.jailbroken": after.jailbroken, "sekisho.device.failing": list(after.failing),
        "sekisho.device.changes": facts, "sekisho.posture.source": after.source,
    })  # fmt: skip


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _trust(mdm: Mdm) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(mdm.ca) if mdm.ca else None)
