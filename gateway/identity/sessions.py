"""Sessions of people: made at sign-in, raised at step-up, ended at sign-out or by others.

The id of a session stays while it lives; its token changes at every rise of privilege (OWASP ASVS 7.2.4).
The steward records starts and ends in its own journal before it answers.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.state.records import Session
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.identity.authentication import Authenticated
    from gateway.identity.context import ControlContext, Source

MAX_USER_AGENT = 256


@dataclass(frozen=True, slots=True)
class StartedSession:
    """A new session and its token: the token exists here and in the cookie (or token file) only."""

    session: Session
    token: str = field(repr=False)  # 43 characters, base64url of 32 random bytes
    replaced: tuple[str, ...] = ()  # ids of sessions ended because of the concurrent limit


def new_token() -> str:
    """Return 256 random bits as 43 base64url characters."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Hex SHA-256 of the token's text, as the store and the workers know it."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


async def start_session(
    context: ControlContext,
    authenticated: Authenticated,
    source: Source,
    *,
    replaces: str | None = None,
    operator: bool = False,
    lifetime: float | None = None,
) -> StartedSession:
    """Start a session; `replaces` names a session of the same browser to end with it.

    `operator` sessions are tokens of the command line and count apart from browser sessions. `lifetime` in seconds
    shortens the absolute limit of the settings, never lengthens it. Raises StewardUnavailable, CommandRefused.
    """
    token, now, limits = new_token(), context.clock(), context.settings.sessions
    user = authenticated.user
    ends = [now + limits.absolute]
    if lifetime is not None:
        ends.append(now + lifetime)
    if user.contract_end is not None:
        ends.append(user.contract_end)
    session = Session(
        id="s-" + secrets.token_hex(12),
        user_id=user.id,
        token_hash=token_hash(token),
        amr=authenticated.amr,
        acr=authenticated.acr,
        mfa_method=authenticated.mfa_method,
        mfa_at=authenticated.at,
        created_at=now,
        expires_at=min(ends),
        idle_limit=limits.idle,
        last_used_at=now,
        device_id=source.device_id,
        source_ip=source.address,
        user_agent=source.user_agent[:MAX_USER_AGENT],
        operator=operator,
        ended_at=None,
        end_reason="",
    )
    async with context.turns.of(f"sessions:{user.id}"):
        replaced = await _make_room(context, user.id, user.login, operator, replaces)
        await context.steward.call("session.start", session=session.to_row(), replaces=replaces)
    return StartedSession(session, token, replaced)


async def elevate_session(context: ControlContext, session: Session, authenticated: Authenticated) -> str:
    """Give the session a fresh second factor and a new token, which is returned; the old token is dead."""
    token = new_token()
    await context.steward.call(
        "session.elevate",
        id=session.id,
        token_hash=token_hash(token),
        amr=list(dict.fromkeys((*session.amr, *authenticated.amr))),
        acr=authenticated.acr,
        mfa_method=authenticated.mfa_method,
        mfa_at=authenticated.at,
    )
    return token


async def end_sessions(
    context: ControlContext, session_ids: tuple[str, ...], reason: Reason, *, by: str, why: str
) -> None:
    """End sessions now, live connections included. Nothing happens for an empty tuple."""
    if session_ids:
        await context.steward.call(
            "session.end", selector={"sessions": list(session_ids)}, reason=reason.value, message="", by=by, why=why
        )


def browser_sessions(context: ControlContext, user_id: str) -> tuple[Session, ...]:
    """The person's living browser sessions, oldest first."""
    return _living(context, user_id, operator=False)


async def _make_room(
    context: ControlContext, user_id: str, login: str, operator: bool, replaces: str | None
) -> tuple[str, ...]:
    """End the oldest sessions so that one more keeps within the limit."""
    others = [session.id for session in _living(context, user_id, operator) if session.id != replaces]
    excess = len(others) + 1 - context.settings.sessions.concurrent
    oldest = tuple(others[:excess]) if excess > 0 else ()
    await end_sessions(context, oldest, Reason.SESSION_REPLACED, by=login, why="concurrent limit")
    return oldest


def _living(context: ControlContext, user_id: str, operator: bool) -> tuple[Session, ...]:
    mine = [s for s in context.reader.sessions(active=True) if s.user_id == user_id and s.operator == operator]
    return tuple(sorted(mine, key=lambda session: session.created_at))
