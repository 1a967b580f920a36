"""Sends alerts: each matter at most once in a while, each failure tried again, nothing ever blocking the caller."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.signals.alert import Alert
from gateway.signals.channels import Channel, ChannelFault

QUIET_SECONDS = 600.0
QUEUE_MAX = 1000
TRIES = 8
BACKOFF_FLOOR = 2.0
BACKOFF_CEILING = 300.0
KEYS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How one way out is doing, for `status`."""

    name: str
    sent: int
    failed: int
    waiting: int
    dropped: int
    last_fault: str


def backoff(tries: int) -> float:
    """Seconds before the next attempt after `tries` failures."""
    return float(min(BACKOFF_CEILING, BACKOFF_FLOOR * 2.0 ** (tries - 1)))


class _Lane:
    """One channel's queue and its counts."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.queue: deque[Alert] = deque()
        self.wake = asyncio.Event()
        self.sent = self.failed = self.dropped = 0
        self.last_fault = ""

    def state(self) -> ChannelState:
        return ChannelState(
            self.channel.name, self.sent, self.failed, len(self.queue), self.dropped, self.last_fault
        )  # fmt: skip


class Outbox:
    """Queues alerts for every channel. A matter (`Alert.key`) told within the last ten minutes is not told again."""

    def __init__(self, channels: Sequence[Channel], clock: Callable[[], float]) -> None:
        self._lanes = [_Lane(channel) for channel in channels]
        self._clock = clock
        self._told: dict[str, float] = {}

    def put(self, alert: Alert) -> bool:
        """Queue `alert` unless its matter was told lately; say whether it was queued."""
        now = self._clock()
        if now - self._told.get(alert.key, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        if len(self._told) >= KEYS_MAX:
            self._told = {key: at for key, at in self._told.items() if now - at < QUIET_SECONDS}
        self._told[alert.key] = now
        for lane in self._lanes:
            if len(lane.queue) >= QUEUE_MAX:
                # The oldest goes: what is newest is what a person must know, and the records keep all of it.
                lane.queue.popleft()
                lane.dropped += 1
            lane.queue.append(alert)
            lane.wake.set()
        return True

    async def test(self, alert: Alert) -> dict[str, str]:
        """Send `alert` on every channel now; return each channel's fault ("" = handed over)."""
        results: dict[str, str] = {}
        for lane in self._lanes:
            try:
                await lane.channel.send(alert)
            except ChannelFault as fault:
                results[lane.channel.name] = str(fault)
            else:
                results[lane.channel.name] = ""
        return results

    def states(self) -> tuple[ChannelState, ...]:
        """Return how every channel is doing."""
        return tuple(lane.state() for lane in self._lanes)

    async def run(self) -> None:
        """Send for ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(self._drain(lane))

    async def _drain(self, lane: _Lane) -> None:
        while True:
            if not lane.queue:
                lane.wake.clear()
                await lane.wake.wait()
            await self._send(lane, lane.queue.popleft())

    async def _send(self, lane: _Lane, alert: Alert) -> None:
        for tries in range(1, TRIES + 1):
            try:
                await lane.channel.send(alert)
            except ChannelFault as fault:
                lane.last_fault = str(fault)
                await asyncio.sleep(backoff(tries))
            else:
                lane.sent += 1
                lane.last_fault = ""
                return
        lane.failed += 1
