"""How sessions end: the one place where a session stops being alive, and the record of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from audit.event import Action, event
from gateway.state.command import Outcome
from gateway.state.records import Session, User
from gateway.state.transaction import Transaction


def end_sessions(
    tx: Transaction, sessions: Iterable[Session], now: float, reason: str, message: str, *, by: str, why: str
) -> Outcome:
    """End each of `sessions`: kept in the store for good, with the reason code and the words for the person.

    Their app sessions end with them: an app session is worth what its parent is. `by` and `why` go to the record.
    """
    outcome = Outcome()
    logins: dict[str, str] = {}
    alive = [session for session in sessions if session.ended_at is None]
    tx.change([replace(session, ended_at=now, end_reason=reason, end_message=message) for session in alive])
    for session in alive:
        if session.user_id not in logins:
            user = tx.get(User, session.user_id)
            logins[session.user_id] = user.login if user else ""
        fields = {
            "sekisho.session.id": session.id,
            "user.id": session.user_id,
            "user.name": logins[session.user_id],
            "device.id": session.device_id,
            "sekisho.session.operator": session.operator,
            "sekisho.reason": reason,
            "sekisho.by": by,
            "sekisho.justification": why or None,
        }
        outcome.records.append(event(Action.SESSION_ENDED, now, fields))
    return outcome
