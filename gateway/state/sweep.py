"""Ends what time ends: sessions past their limits, locks past their expiry. Each end is a recorded event.

Only the steward ends for idleness, from the last use that the workers report (design §5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.state.arguments import Arguments
from gateway.state.command import Command, Outcome, Surroundings
from gateway.state.endings import end_sessions
from gateway.state.records import Lock, Session, User
from gateway.state.tables import Tables
from gateway.state.transaction import Transaction
from policies.reasons import Reason

_SLICE = 1000  # sessions looked at between two breaths of the loop
_AT_ONCE = 200  # sessions ended in one transaction

BY = "sekisho"


def lapse_sessions(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`sessions reason`: the sessions ended by time."""
    ids, reason = args.texts("sessions"), args.text("reason")
    args.end()
    return end_sessions(tx, tx.find(Session, id=ids, ended_at=None), around.now, reason, "", by=BY, why="")


LAPSE = Command(lapse_sessions, urgent=True)


@dataclass(slots=True)
class Uses:
    """When each session was last used, as reported; `dirty` are those not yet in the store."""

    tables: Tables
    now: Callable[[], float]
    last: dict[str, float] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)

    def take(self, reported: Mapping[str, float]) -> None:
        """Take a report; times of the future and unknown sessions count for nothing."""
        now = self.now()
        for session_id, at in reported.items():
            if session_id in self.tables.rows["session"] and at > self.last.get(session_id, 0.0):
                self.last[session_id] = min(float(at), now)
                self.dirty.add(session_id)

    def of(self, session: Session) -> float:
        """The session's last use."""
        return max(session.last_used_at, self.last.get(session.id, 0.0))

    def flush(self) -> dict[str, float]:
        """What the store does not know yet."""
        fresh = {session_id: self.last[session_id] for session_id in self.dirty if session_id in self.last}
        self.dirty.clear()
        return fresh

    def forget(self, session_id: str) -> None:
        """The session is over."""
        self.last.pop(session_id, None)
        self.dirty.discard(session_id)


async def sweep(
    tables: Tables,
    uses: Uses,
    now: float,
    end: Callable[[tuple[str, ...], str], Awaitable[None]],
    unlock: Callable[[str], Awaitable[None]],
) -> None:
    """One look at everything: `end(session ids, reason)` and `unlock(lock id)` are called for what is over."""
    over: dict[str, list[str]] = {}
    for index, session in enumerate(tables.sessions()):
        if index % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        if session.ended_at is None:
            reason = _over(session, uses, tables.rows["user"].get(session.user_id), now)
            if reason is not None:
                over.setdefault(reason.value, []).append(session.id)
        else:
            uses.forget(session.id)
            if session.expires_at <= now:
                tables.forget_session(session.id)
    for reason_code, ids in over.items():
        for batch in _batches(ids):
            await end(batch, reason_code)
    for lock in list(tables.rows["lock"].values()):
        if isinstance(lock, Lock) and lock.expires_at is not None and lock.expires_at <= now:
            await unlock(lock.id)


def _over(session: Session, uses: Uses, user: object, now: float) -> Reason | None:
    if session.expires_at <= now:
        return Reason.SESSION_EXPIRED
    if uses.of(session) + session.idle_limit <= now:
        return Reason.SESSION_IDLE
    if isinstance(user, User) and user.contract_end is not None and user.contract_end <= now:
        return Reason.CONTRACT_ENDED
    return None


def _batches(ids: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield tuple(ids[start : start + _AT_ONCE])
