"""To which of an app's upstreams a request goes.

Least loaded: the one with the fewest requests in flight, ties in rotation (HAProxy's `leastconn`, Envoy's least
request; choosing the better of two at random only pays where looking at all of them is dear, and an app has 16 at
most). By session: each app session has an order of the upstreams of its own and takes the first that answers, so all
workers choose alike, nothing is remembered, and an upstream that leaves moves only its own sessions (rendezvous
hashing: Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Protocol, TypeVar

from gateway.gate.request import RequestHead

SESSION: Final = "session"
"""`App.affinity` of an app whose sessions live in one server's memory."""

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Choosable(Protocol):
    """An upstream, as the choice sees it."""

    @property
    def address(self) -> str:
        """Where it is: the same text in all workers."""

    @property
    def load(self) -> int:
        """Requests and tunnels that it has now, and those that wait for it."""


ChosenT = TypeVar("ChosenT", bound=Choosable)


def least_loaded(upstreams: Sequence[ChosenT], turn: int) -> ChosenT:
    """Return the one with the least load; of several the first from `turn` on. `upstreams` has one at least."""
    size = len(upstreams)
    return min((upstreams[(turn + step) % size] for step in range(size)), key=lambda upstream: upstream.load)


def by_session(upstreams: Sequence[ChosenT], session: str) -> ChosenT:
    """Return the one that comes first for this app session. `upstreams` has one at least."""
    return max(upstreams, key=lambda upstream: _weight(upstream.address, session))


def may_repeat(request: RequestHead) -> bool:
    """Whether a request may be sent once more when no byte of an answer came (RFC 9110 §9.2.2): read, and no body."""
    whole = not request.chunked and not request.content_length and not request.upgrade
    return request.method in _REPEATABLE and whole


def _weight(address: str, session: str) -> bytes:
    return blake2b(f"{address}\0{session}".encode(), digest_size=16).digest()
