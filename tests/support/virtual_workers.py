"""Workers that share rates, and their steward, in virtual time: the real parts on a clock and a wire of a test's own.

A minute takes milliseconds, and every run is the same.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.gate.leased import LeasedBuckets
from gateway.gate.limits import Buckets, Rate
from gateway.leasing import Leasing
from gateway.state.leases import Key, Leases
from gateway.state.leasing import LeaseRounds

KIND = "session"


@dataclass
class VirtualClock:
    """What both ends take for their loop."""

    now: float = 1000.0
    _calls: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> None:
        heapq.heappush(self._calls, (when, next(self._order), callback))

    def run_until(self, when: float) -> None:
        """Make every call that is due until then, in order."""
        while self._calls and self._calls[0][0] <= when:
            due, _, callback = heapq.heappop(self._calls)
            self.now = max(self.now, due)
            callback()
        self.now = max(self.now, when)


class VirtualWorkers:
    """`count` workers with one rate between them; `latency` seconds each way to the steward."""

    def __init__(self, count: int, rate: Rate, latency: float = 0.0005, capacity: int = 1000) -> None:
        self.clock = VirtualClock()
        self.rate = rate
        self.count = count
        self.latency = latency
        self.frames = 0
        self.steward_stopped = False
        self._held_back: list[tuple[Key, dict[str, Any]]] = []
        self.buckets: list[Buckets] = []
        self.keys: list[Key] = []  # of those that serve now
        self.leasing: dict[Key, Leasing] = {}
        self.connected: dict[Key, bool] = {}
        self.start_steward(capacity)
        for number in range(count):
            key = (f"worker-{number}", 100 + number)
            self.keys.append(key)
            self.buckets.append(Buckets(rate, 1000) if count == 1 else self._started(number, key))

    def _started(self, number: int, key: Key) -> LeasedBuckets:
        mine = LeasedBuckets(self.rate, self.count, 1000)
        self.keys[number] = key
        self.leasing[key] = Leasing({KIND: mine}, lambda said: self._say(key, said), self.clock)
        self.connect(key)
        return mine

    def start_steward(self, capacity: int = 1000) -> None:
        self.leases = Leases({KIND: self.rate}, self.count, capacity)
        self.rounds = LeaseRounds(self.leases, self.clock, self._send)

    def connect(self, key: Key) -> None:
        self.connected[key] = True
        self.rounds.joined(key)

    def disconnect(self, key: Key) -> None:
        self.connected[key] = False
        self.leasing[key].lost()
        self.rounds.left(key, dead=False)

    def replace(self, number: int, *, gone: bool) -> None:
        """Put a fresh worker in this one's place; the former drains, or is `gone` at once where it had nothing open."""
        former = self.keys[number]
        self.buckets[number] = self._started(number, (former[0], former[1] + self.count))
        if gone:
            self.connected[former] = False
            self.rounds.left(former, dead=True)

    def stop_steward(self) -> None:
        """As SIGSTOP: it takes nothing and says nothing until `resume_steward`."""
        self.steward_stopped = True

    def resume_steward(self) -> None:
        self.steward_stopped = False
        for key, said in self._held_back:
            self.rounds.heard(key, said)
        self._held_back.clear()

    def _say(self, key: Key, said: dict[str, Any]) -> bool:
        self.frames += 1
        message = orjson.loads(orjson.dumps(said))
        rounds = self.rounds

        def arrive() -> None:
            if self.steward_stopped:
                self._held_back.append((key, message))
            elif rounds is self.rounds and self.connected[key]:
                rounds.heard(key, message)

        if self.connected[key]:
            self.clock.call_at(self.clock.now + self.latency, arrive)
        return self.connected[key]

    def _send(self, key: Key, frame: bytes) -> None:
        self.frames += 1
        message = orjson.loads(frame[4:])
        rounds = self.rounds

        def arrive() -> None:
            if rounds is self.rounds and self.connected[key]:
                self.leasing[key].told(message)

        self.clock.call_at(self.clock.now + self.latency, arrive)

    def ask(self, worker: int, at: float, name: str = "s1") -> int:
        """One request for `name` at `worker`, `at` seconds of virtual time; the seconds to wait, 0 = it passes."""
        self.clock.run_until(at)
        return self.buckets[worker].take(name, at)

    def passed(self, asked: Iterable[tuple[float, int]], name: str = "s1") -> int:
        """How many of these requests (seconds from now, worker) pass."""
        begun = self.clock.now
        return sum(self.ask(worker, begun + at, name) == 0 for at, worker in asked)
