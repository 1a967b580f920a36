"""How the simulated service can be broken: one fault at a time, for all calls or for the next few."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum


class FaultKind(StrEnum):
    """What goes wrong. Each was seen in a real service or can be forced on one only by accident."""

    NONE = "none"
    DOWN = "down"  # 503 to everything
    TIMEOUT = "timeout"  # the connection is accepted and nothing comes
    THROTTLE = "throttle"  # 429 with Retry-After
    THROTTLE_BARE = "throttle_bare"  # 429 without Retry-After
    TOKEN_REFUSED = "token_refused"  # noqa: S105  # a fault's name: the token endpoint says invalid_client
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  # a fault's name: every token is answered 401
    FORBIDDEN = "forbidden"  # 403 with Graph's error body
    GARBAGE = "garbage"  # 200 with something that is no JSON
    CUT = "cut"  # the answer ends in the middle
    STRANGE_ENUM = "strange_enum"  # a compliance state nobody has heard of
    WRONG_TYPES = "wrong_types"  # strings where booleans belong
    ENDLESS_PAGES = "endless_pages"  # nextLink leads to itself
    FOREIGN_NEXT_LINK = "foreign_next_link"  # nextLink leads to another host
    HUGE = "huge"  # an answer far larger than any list of devices


class Faults:
    """The fault now in force and a count of calls by kind of endpoint."""

    def __init__(self) -> None:
        self._kind = FaultKind.NONE
        self._left: int | None = None
        self.calls: Counter[str] = Counter()

    @property
    def kind(self) -> FaultKind:
        """The fault in force."""
        return self._kind

    def set(self, kind: str, times: int | None = None) -> None:
        """Put a fault in force for the next `times` calls (None = until changed); raise ValueError if unknown."""
        self._kind = FaultKind(kind)
        self._left = times

    def take(self, endpoint: str) -> FaultKind:
        """Count one call of `endpoint` and return the fault it meets."""
        self.calls[endpoint] += 1
        kind = self._kind
        if self._left is not None and kind is not FaultKind.NONE:
            self._left -= 1
            if self._left <= 0:
                self.set(FaultKind.NONE)
        return kind
