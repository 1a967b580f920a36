"""New people and their one-time set-up codes. Printing the letter is the caller's affair."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audit.event import Action
from gateway.identity import lockout, trail
from gateway.identity.authentication import SignInRefused, may_sign_in, refuse_while_waiting
from gateway.identity.factors import new_factor, usable
from gateway.state.records import Factor, FactorKind, User
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext, Source
    from gateway.identity.digests import KeyedDigests

SETUP_LIFETIME = 14 * 86400.0  # seconds: a letter by internal post and a holiday week
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base32: no I, L, O, U
_LENGTH = 16
_READ_AS = str.maketrans("ILO", "110")  # Crockford's decoding of the letters that people mix up
_PURPOSE = "setup_code"


class LoginTaken(Exception):
    """Another account already answers to this login or e-mail in some spelling."""


@dataclass(frozen=True, slots=True)
class SetupCode:
    """A one-time code for `/setup`. `code` is shown once (on the letter) and stored as a keyed digest only."""

    code: str = field(repr=False)  # XXXX-XXXX-XXXX-XXXX, 80 random bits
    factor: Factor = field(repr=False)
    expires_at: float


def new_setup_code(digests: KeyedDigests, user_id: str, now: float, lifetime: float = SETUP_LIFETIME) -> SetupCode:
    """Make a code and the factor record that the store keeps (pure but for randomness)."""
    plain = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    data = {"digest": digests.make(_PURPOSE, f"{user_id}:{plain}"), "expires_at": now + lifetime}
    factor = new_factor(user_id, FactorKind.SETUP_CODE, "設定コード", data, now)
    return SetupCode("-".join(plain[i : i + 4] for i in range(0, _LENGTH, 4)), factor, now + lifetime)


async def create_setup_code(
    context: ControlContext, user: User, by: str, lifetime: float = SETUP_LIFETIME
) -> SetupCode:
    """Store a new code for the person; older codes of the person stop working, failures are forgotten. Recorded."""
    made = new_setup_code(context.digests, user.id, context.clock(), lifetime)
    await trail.factor_act(context, Action.FACTOR_ENROLLED, None, user, made.factor, by)
    for old in usable(context, user.id, FactorKind.SETUP_CODE):
        await context.steward.call("factor.remove", id=old.id)
    await context.steward.call("factor.put", factor=made.factor.to_row())
    await lockout.clear(context, lockout.account_key(context, user, user.login))
    return made


async def create_user(context: ControlContext, user: User, by: str) -> SetupCode:
    """Put a new user (recorded as `user.created`) and a set-up code. Raises LoginTaken."""
    for spelling in filter(None, (user.login, user.email)):
        taken = lockout.find_user(context, spelling)
        if taken is not None and taken.id != user.id:
            raise LoginTaken(spelling)
    await trail.user_act(context, Action.USER_CREATED, user, by)
    await context.steward.call("user.put", user=user.to_row())
    return await create_setup_code(context, user, by)


async def verify_setup_code(context: ControlContext, login: str, typed: str, source: Source) -> tuple[User, Factor]:
    """Check a login and its set-up code; the code stays good until `enrolment.complete` uses it up.

    Raises SignInRefused (credentials_wrong, account_waiting). Wrong codes count like wrong passwords.
    """
    user = lockout.find_user(context, login)
    account = lockout.account_key(context, user, login)
    async with context.turns.of(account):
        await refuse_while_waiting(context, account, user, login, source)
        factor = _matching(context, user, typed)
        if user is not None and factor is not None and may_sign_in(user, context.clock()):
            await trail.attempt(context, Action.AUTH_SETUP, source, user=user, factor=factor)
            return user, factor
        _, until = await lockout.count_failure(context, account, user, None, source)
        reason = Reason.CREDENTIALS_WRONG
        await trail.attempt(context, Action.AUTH_SETUP, source, user=user, typed_login=login, reason=reason)
        raise SignInRefused(reason if until is None else Reason.ACCOUNT_WAITING, until)


def _matching(context: ControlContext, user: User | None, typed: str) -> Factor | None:
    plain = "".join(c for c in lockout.canonical_login(typed).upper() if c.isalnum()).translate(_READ_AS)
    owner, now = user.id if user is not None else "", context.clock()
    codes = usable(context, owner, FactorKind.SETUP_CODE)
    matching = [f for f in codes if context.digests.match(_PURPOSE, f"{owner}:{plain}", f.data["digest"])]
    return matching[0] if matching and now < matching[0].data["expires_at"] else None
