"""When the steward shares out: at once for the first that asks, then at most each 20 ms; each second for all names.

Nothing runs while no name is in the book, and however full it is, the rounds take a tenth of the steward's time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.state import wire

if TYPE_CHECKING:
    from gateway.state.leases import Key, Leases

GAP: Final = 0.02  # seconds between two rounds: workers that are asked about a name have answered by then
_REST: Final = 10  # times as long as a round took
_EARLY: Final = 0.005  # seconds: a loop's clock may be that coarse
LOOK: Final = 1.0  # seconds between two rounds over all names: what nobody reports on fills up as well


class Timers(Protocol):
    """The part of an asyncio loop that gives time and calls back."""

    def time(self) -> float:
        """Return monotonic seconds."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> Any:
        """Call back at `when`."""


class LeaseRounds:
    """The book with a clock: takes workers' reports, tells each worker what it may take."""

    def __init__(self, leases: Leases, timers: Timers, send: Callable[[Key, bytes], None]) -> None:
        """`send` writes one frame to a worker, if it is connected."""
        self.leases = leases
        self._timers = timers
        self._send = send
        self._owed: set[Key] = set()  # workers whose report has no answer yet
        self._earliest = float("-inf")  # when the next round may be
        self._looked = float("-inf")
        self._next: float | None = None

    def heard(self, worker: Key, message: wire.Message) -> None:
        """Take one `want`. Raises WireFault for one that is none of ours."""
        try:
            reports = [(str(kind), str(name), float(taken), float(asked)) for kind, name, taken, asked in message["of"]]
            self.leases.heard(worker, reports, self._timers.time())
        except (KeyError, TypeError, ValueError) as fault:
            raise wire.WireFault("a report of rates that is none") from fault
        self._owed.add(worker)
        self._schedule(self._earliest)

    def joined(self, worker: Key) -> None:
        """Tell a worker that serves now, or again, what is shared out: at once, as it begins with parts of its own."""
        self.leases.joined(worker)
        if len(self.leases):
            self._earliest = min(self._earliest, self._timers.time())
            self._schedule(self._earliest)

    def left(self, worker: Key, *, dead: bool) -> None:
        """Count a worker out."""
        self._owed.discard(worker)
        self.leases.left(worker, dead=dead)

    def _schedule(self, when: float) -> None:
        if self._next is None or when < self._next:
            self._next = when
            self._timers.call_at(when, self._round)

    def _round(self) -> None:
        now = self._timers.time()
        if self._next is None or now < self._next - _EARLY:
            return  # a later call that an earlier one has done the work of
        self._next = None
        every = now - self._looked >= LOOK
        self._looked = now if every else self._looked
        for key, tidings in self.leases.round(now, every=every).items():
            if tidings.names or tidings.over or key in self._owed:
                answers = key in self._owed
                self._send(key, wire.encode(
                    {"t": "shares", "names": tidings.names, "over": tidings.over, "answers": answers}
                ))  # fmt: skip
        self._owed.clear()
        self._earliest = now + max(GAP, _REST * (self._timers.time() - now))
        if len(self.leases):
            self._schedule(now + LOOK)
