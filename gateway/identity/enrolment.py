"""Binding factors: the first set-up with a one-time code, and later additions and removals.

A set-up code is a fresh start: when it completes, every older factor of the person is removed and every session
ends. So a lost phone, a found letter and a disabled factor all have one remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.event import Action
from gateway.identity import factors, lockout, totp, trail
from gateway.identity.authentication import AAL2, Authenticated, SignInRefused, current_user
from gateway.identity.passkeys import amr_of
from gateway.identity.sessions import end_sessions
from gateway.state.records import Factor, FactorKind, Session, User
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext, Source

LABEL_LENGTH = 40


class LastFactor(Exception):
    """Without this factor the person could not sign in any more."""


async def prove_totp(context: ControlContext, user: User, secret: str, code: str, label: str) -> Factor:
    """Check that the app shows codes of the new secret and return the factor, not yet stored.

    Raises SignInRefused (code_wrong). The step is used up, so that the same code cannot sign in afterwards.
    """
    now, drift = context.clock(), context.settings.sign_in.totp_drift_steps
    step = totp.matching_step(secret, code, now, drift)
    if step is None:
        raise SignInRefused(Reason.CODE_WRONG)
    data = {"secret": secret, "last_step": step}
    factor = factors.new_factor(user.id, FactorKind.TOTP, tidy_label(label), data, now)
    await context.steward.call("code.use", key=f"totp:{factor.id}:{step}", expires_at=totp.step_expiry(step, drift))
    return factor


async def complete(
    context: ControlContext, user: User, setup: Factor, password_hash: str | None, second: Factor, source: Source
) -> Authenticated:
    """End the set-up: use the code up, drop older factors and sessions, store the new factors.

    `password_hash` is None where the person chose a passkey alone. Raises SignInRefused (code_reused) when the code
    was used meanwhile; then nothing was changed.
    """
    user = current_user(context, user.id)
    used = await context.steward.call("code.use", key=f"setup:{setup.id}", expires_at=setup.data["expires_at"])
    if not used["fresh"] or setup.id not in {f.id for f in context.reader.factors(user.id)}:
        await trail.attempt(context, Action.AUTH_SETUP, source, user=user, reason=Reason.CODE_REUSED, factor=setup)
        raise SignInRefused(Reason.CODE_REUSED)
    for old in context.reader.factors(user.id):
        await _remove(context, user, old, source)
    await context.steward.call(
        "session.end",
        selector={"user": user.id},
        reason=Reason.SESSION_ENDED.value,
        message="",
        by=user.login,
        why="set-up code used",
    )
    if password_hash is not None:
        data = {"hash": password_hash}
        first = factors.new_factor(user.id, FactorKind.PASSWORD, "パスワード", data, context.clock())
        await store(context, user, first, source)
    await store(context, user, second, source)
    await lockout.clear(context, lockout.account_key(context, user, user.login))
    if second.kind == FactorKind.PASSKEY:
        return Authenticated(user, amr_of(second), AAL2, "webauthn", context.clock())
    return Authenticated(user, ("pwd", "otp", "mfa"), AAL2, "totp", context.clock())


async def change_password(
    context: ControlContext, session: Session, user: User, password_hash: str, source: Source
) -> None:
    """Keep the new password in place of the old, then end every session of the person but `session`, tokens too.

    The new one is stored before the old one goes: a process that dies in between leaves nobody without a password,
    and the newest counts.
    """
    before = [f for f in context.reader.factors(user.id) if f.kind == FactorKind.PASSWORD]
    fresh = factors.new_factor(user.id, FactorKind.PASSWORD, "パスワード", {"hash": password_hash}, context.clock())
    await store(context, user, fresh, source)
    for old in before:
        await _remove(context, user, old, source)
    others = tuple(one.id for one in context.reader.sessions(user_id=user.id) if one.id != session.id)
    await end_sessions(context, others, Reason.SESSION_ENDED, by=user.login, why="password changed")


async def store(context: ControlContext, user: User, factor: Factor, source: Source) -> None:
    """Record and keep a new factor."""
    await trail.factor_act(context, Action.FACTOR_ENROLLED, source, user, factor, by=user.login)
    await context.steward.call("factor.put", factor=factor.to_row())


async def remove(context: ControlContext, user: User, factor_id: str, source: Source) -> None:
    """Remove one of the person's second factors. Raises LastFactor, and KeyError for a factor of somebody else."""
    mine = {f.id: f for f in context.reader.factors(user.id) if f.kind in (FactorKind.TOTP, FactorKind.PASSKEY)}
    doomed = mine[factor_id]
    left = [f for f in mine.values() if f.id != factor_id and not lockout.is_disabled(f)]
    password = factors.usable(context, user.id, FactorKind.PASSWORD)
    if not any(f.kind == FactorKind.PASSKEY or password for f in left):
        raise LastFactor(factor_id)
    await _remove(context, user, doomed, source)


def tidy_label(typed: str) -> str:
    """A name for a factor as the person typed it: one line, no control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in typed).split())[:LABEL_LENGTH]


async def _remove(context: ControlContext, user: User, factor: Factor, source: Source) -> None:
    await trail.factor_act(context, Action.FACTOR_REMOVED, source, user, factor, by=user.login)
    await context.steward.call("factor.remove", id=factor.id)
