"""The exchanges in flight, found by session, user, device or app, so that a revocation can end them (promise P3).

Most exchanges live for milliseconds, so a new one enters one table only; those still alive at the next sweep move
into the indexes. A search looks at both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Final, Protocol

from gateway.edge.services import Outcome, Passed
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward

_SLICE: Final = 0.001  # seconds of the loop's time
_AT_ONCE: Final = 200  # exchanges of which one look tells: as many records are made in 2 ms of the loop's time


class LiveExchange(Protocol):
    """One forwarded request whose answer, or tunnel, has not ended yet."""

    request: RequestHead
    verdict: Passed
    request_bytes: int  # body, or frames, from the client
    started: float  # monotonic seconds

    def outcome(self) -> Outcome:
        """Return how it stands so far."""

    def cut(self, reason: str) -> None:
        """Reset the client's connection at once; the rest is handed to `conclude_later`. Idempotent."""

    def conclude(self, reason: str) -> None:
        """Give the app's connection back and record the completion with `reason`."""


Keys = tuple[tuple[str, str], ...]


def keys_of(exchange: LiveExchange) -> Keys:
    """Return the (index, id) pairs under which an exchange can be found; own pages have none.

    `certificate` is the name in the client certificate: its device may become known, or another's, while it lives.
    """
    verdict = exchange.verdict
    if not isinstance(verdict, Forward):
        return ()
    keys: Keys = (("session", verdict.session.id), ("user", verdict.user.id), ("app", verdict.app.id))
    if verdict.device is not None:
        keys = (*keys, ("device", verdict.device.id))
    certificate = exchange.request.peer.certificate
    return keys if certificate is None else (*keys, ("certificate", certificate.uuid))


class LiveExchanges:
    """The registry. One a worker; used from its loop only."""

    def __init__(self, streams: int = 256) -> None:
        """`streams`: so many exchanges of one session may live on at a time."""
        self._streams = streams
        self.crowded: set[str] = set()
        """Sessions that have as many as they may."""
        self._young: dict[LiveExchange, None] = {}
        self._settled: dict[LiveExchange, Keys] = {}
        self._index: dict[tuple[str, str], dict[LiveExchange, None]] = {}
        self._told: dict[LiveExchange, float] = {}  # those to an app, by when they began or were last told of
        self._cut: deque[tuple[LiveExchange, str]] = deque()
        self.rejudged = 0  # how often: a decision that waits for its record is not in here, and compares this

    def __len__(self) -> int:
        return len(self._young) + len(self._settled)

    def add(self, exchange: LiveExchange) -> None:
        """Enter an exchange before its first byte goes to the app."""
        self._young[exchange] = None

    def remove(self, exchange: LiveExchange) -> None:
        """Forget an exchange that ended; unknown ones are ignored."""
        if exchange in self._young:
            del self._young[exchange]
            return
        self._told.pop(exchange, None)
        for key in self._settled.pop(exchange, ()):
            found = self._index[key]
            del found[exchange]
            if key[0] == "session" and len(found) < self._streams:
                self.crowded.discard(key[1])
            if not found:
                del self._index[key]

    def is_stream(self, exchange: LiveExchange) -> bool:
        """Index an exchange that turned out to last; False where its session has as many as it may already."""
        verdict = exchange.verdict
        if isinstance(verdict, Forward) and verdict.session.id in self.crowded:
            return False
        if exchange in self._young:
            del self._young[exchange]
            self._settle(exchange)
        return True

    def settle(self) -> None:
        """Move what is still alive into the indexes; the sweeper calls this about once a second."""
        young, self._young = self._young, {}
        for exchange in young:
            self._settle(exchange)

    def _settle(self, exchange: LiveExchange) -> None:
        keys = keys_of(exchange)
        self._settled[exchange] = keys
        if keys:
            self._told[exchange] = exchange.started
        for key in keys:
            found = self._index.setdefault(key, {})
            found[exchange] = None
            if key[0] == "session" and len(found) >= self._streams:
                self.crowded.add(key[1])

    def find(self, index: str, identity: str) -> list[LiveExchange]:
        """Return the live exchanges of one `session`, `user`, `device` or `app`."""
        key = (index, identity)
        return [*self._index.get(key, ()), *(young for young in self._young if key in keys_of(young))]

    def all(self) -> list[LiveExchange]:
        """Return every live exchange, own pages included."""
        return [*self._settled, *self._young]

    def share(self, turn: int, of: int) -> list[LiveExchange]:
        """Return the part of the settled exchanges whose turn it is: `of` turns together go through all of them."""
        return [exchange for number, exchange in enumerate(self._settled) if number % of == turn % of]

    def untold(self, now: float, each: float) -> list[LiveExchange]:
        """Return settled exchanges to apps that have lived on for `each` seconds, and take them for told of at `now`.

        A few at a time; the rest is returned by the next calls. `now` is in monotonic seconds.
        """
        found: list[LiveExchange] = []
        for exchange, since in self._told.items():  # in the order of their times, to about a second
            if since > now - each or len(found) == _AT_ONCE:
                break
            found.append(exchange)
        for exchange in found:
            del self._told[exchange]
            self._told[exchange] = now
        return found

    def cut(self, exchange: LiveExchange, reason: str) -> None:
        """End one exchange: the client's connection is reset, the completion carries `reason`."""
        exchange.cut(reason)

    def conclude_later(self, exchange: LiveExchange, reason: str) -> None:
        """Forget an exchange that was cut; its completion waits until all others of the same cause are cut too."""
        self.remove(exchange)
        if not self._cut:
            asyncio.get_running_loop().call_soon(self.conclude, _SLICE)
        self._cut.append((exchange, reason))

    def conclude(self, seconds: float | None = None) -> None:
        """Record the completions of what was cut: for so many seconds and then on, None = all of them now."""
        until = None if seconds is None else perf_counter() + seconds
        while self._cut:
            exchange, reason = self._cut.popleft()
            exchange.conclude(reason)
            if until is not None and self._cut and perf_counter() > until:
                asyncio.get_running_loop().call_soon(self.conclude, seconds)
                return

    def cut_each(self, exchanges: Iterable[LiveExchange], reason: str) -> dict[str, int]:
        """End several exchanges; return how many were ended per session id (for acks and receipts)."""
        return self.rejudge(exchanges, lambda _: reason)

    def rejudge(self, exchanges: Iterable[LiveExchange], judge: Callable[[LiveExchange], str]) -> dict[str, int]:
        """End those for which `judge` gives a reason ("" = may go on); return how many were ended per session id."""
        self.rejudged += 1
        ended: dict[str, int] = {}
        for exchange in exchanges:
            reason = judge(exchange)
            if not reason:
                continue
            exchange.cut(reason)
            if isinstance(exchange.verdict, Forward):
                session = exchange.verdict.session.id
                ended[session] = ended.get(session, 0) + 1
        return ended
