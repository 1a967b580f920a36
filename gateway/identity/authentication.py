"""Verification of a person, step by step; the portal and the command line's local sign-in both use it.

Order for a password: `verify_first` → `FirstStep`, then `verify_totp` or `verify_passkey` → `Authenticated`, then
`sessions.start_session`. A passkey alone is enough too: possession and the verified person are two factors.
Every refusal is a raised `SignInRefused`: no caller can forget to look at it. Unknown, disabled and known accounts
take the same way: same text, same status, one password hash each. Every outcome is recorded before it is returned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from audit.event import Action
from gateway.identity import factors, lockout, passkeys, totp, trail
from gateway.state.records import Factor, FactorKind, User
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext, Source
    from gateway.identity.passkeys import Ceremony

AAL2 = "urn:sekisho:aal2"  # every session: nobody gets one without two factors


class SignInRefused(Exception):
    """The attempt is refused. `reason` may be shown to the person; `wait_until` (epoch) is set while waiting."""

    def __init__(self, reason: Reason, wait_until: float | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.wait_until = wait_until


@dataclass(frozen=True, slots=True)
class FirstStep:
    """What stands before the second factor: the password was right, or a session is there to be raised.

    `methods` are the second factors that the person can use; `amr` is what was shown so far.
    """

    user: User
    account: str  # name of the failure counter
    methods: tuple[str, ...]  # "totp", "webauthn"; empty = only a set-up code can help
    at: float
    amr: tuple[str, ...] = ("pwd",)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A person proven with two factors: what a session is made from, or raised with."""

    user: User
    amr: tuple[str, ...]  # RFC 8176
    acr: str
    mfa_method: str  # totp | webauthn
    at: float


async def verify_first(context: ControlContext, login: str, password: str, source: Source) -> FirstStep:
    """Check id (or e-mail) and password.

    Raises SignInRefused (credentials_wrong, account_waiting), HashingBusy, StewardUnavailable, JournalUnhealthy.
    """
    user = lockout.find_user(context, login)
    account = lockout.account_key(context, user, login)
    async with context.turns.of(account):
        await refuse_while_waiting(context, account, user, login, source)
        factor = _newest(factors.usable(context, user.id, FactorKind.PASSWORD)) if user is not None else None
        encoded = factor.data["hash"] if factor is not None else None
        right = await context.hasher.verify(encoded, password, source.address)
        if user is None or factor is None or not right or not may_sign_in(user, context.clock()):
            raise await _refusal(
                context, Action.AUTH_PASSWORD, Reason.CREDENTIALS_WRONG, account, user, login, factor, source
            )
        await _rehash(context, factor, password)
        await trail.attempt(context, Action.AUTH_PASSWORD, source, user=user, factor=factor)
        return FirstStep(user, account, factors.second_methods(context, user.id), context.clock())


def second_step(context: ControlContext, user: User, amr: tuple[str, ...]) -> FirstStep:
    """Ask a signed-in person for a second factor again; `amr` is that of the session."""
    account = lockout.account_key(context, user, user.login)
    return FirstStep(user, account, factors.second_methods(context, user.id), context.clock(), amr)


async def verify_totp(context: ControlContext, first: FirstStep, code: str, source: Source) -> Authenticated:
    """Check a time-based code after the password, each code once only.

    Raises SignInRefused (code_wrong, code_reused, account_waiting, user_disabled) and what `verify_first` raises.
    """
    async with context.turns.of(first.account):
        user = current_user(context, first.user.id)
        await refuse_while_waiting(context, first.account, user, "", source)
        factor = await _use_code(context, first, user, code, source)
        await context.steward.call("factor.put", factor=factor.to_row())
        await lockout.clear(context, first.account)
        await trail.attempt(context, Action.AUTH_TOTP, source, user=user, factor=factor)
        amr = tuple(dict.fromkeys((*first.amr, "otp", "mfa")))
        return Authenticated(user, amr, AAL2, "totp", context.clock())


async def verify_passkey(
    context: ControlContext, ceremony: Ceremony | None, answer: str, source: Source, *, expected: User | None
) -> Authenticated:
    """Check a passkey's answer to an open ceremony (None: it is over).

    `expected` is who must have answered, None = whom the passkey names.

    A signature cannot be guessed, so failures here neither count nor wait: otherwise anybody could keep staff out.
    Raises SignInRefused (credentials_wrong, user_disabled), StewardUnavailable, JournalUnhealthy.
    """
    claimed = expected or passkeys.claimed_user(context, answer)
    try:
        factor = passkeys.finish_sign_in(context, ceremony, claimed, answer)
    except passkeys.PasskeyRefused:
        await trail.attempt(context, Action.AUTH_PASSKEY, source, user=claimed, reason=Reason.CREDENTIALS_WRONG)
        raise SignInRefused(Reason.CREDENTIALS_WRONG) from None
    user = current_user(context, factor.user_id)
    await trail.attempt(context, Action.AUTH_PASSKEY, source, user=user, factor=factor)
    await context.steward.call("factor.put", factor=factor.to_row())
    return Authenticated(user, passkeys.amr_of(factor), AAL2, "webauthn", context.clock())


def may_sign_in(user: User, now: float) -> bool:
    """Whether the account is neither disabled nor past the end of its contract."""
    return not user.disabled and (user.contract_end is None or now < user.contract_end)


def current_user(context: ControlContext, user_id: str) -> User:
    """Read the person anew: an account may be disabled between two steps. Raises SignInRefused (user_disabled)."""
    user = context.reader.user(user_id)
    if user is None or not may_sign_in(user, context.clock()):
        raise SignInRefused(Reason.USER_DISABLED)
    return user


async def refuse_while_waiting(
    context: ControlContext, account: str, user: User | None, typed_login: str, source: Source
) -> None:
    """Raise SignInRefused (account_waiting) while the account waits; recorded."""
    until = await lockout.waiting_until(context, account)
    if until is not None:
        await trail.attempt(
            context, Action.AUTH_WAITING, source, user=user, typed_login=typed_login, reason=Reason.ACCOUNT_WAITING
        )
        raise SignInRefused(Reason.ACCOUNT_WAITING, until)


async def _use_code(context: ControlContext, first: FirstStep, user: User, code: str, source: Source) -> Factor:
    """Find the factor whose code was typed, use the code up, and return the factor as used. Raises SignInRefused.

    A step is never taken at or before the last one taken: a machine whose clock is set back, past the time for which
    used steps are remembered, does not make old codes good again.
    """
    drift = context.settings.sign_in.totp_drift_steps
    candidates = factors.usable(context, user.id, FactorKind.TOTP)
    for factor in candidates:
        step = totp.matching_step(factor.data["secret"], code, context.clock(), drift)
        if step is None:
            continue
        used = await context.steward.call(
            "code.use", key=f"totp:{factor.id}:{step}", expires_at=totp.step_expiry(step, drift)
        )
        if used["fresh"] and step > factor.data.get("last_step", 0):
            return replace(factor, data={**factor.data, "last_step": step}, last_used_at=context.clock())
        await trail.attempt(context, Action.AUTH_TOTP, source, user=user, reason=Reason.CODE_REUSED, factor=factor)
        raise SignInRefused(Reason.CODE_REUSED)
    failed = _newest(candidates)
    raise await _refusal(context, Action.AUTH_TOTP, Reason.CODE_WRONG, first.account, user, "", failed, source)


async def _refusal(
    context: ControlContext,
    action: Action,
    reason: Reason,
    account: str,
    user: User | None,
    typed_login: str,
    factor: Factor | None,
    source: Source,
) -> SignInRefused:
    """Count and record a failure; returns what the caller raises."""
    _, until = await lockout.count_failure(context, account, user, factor, source)
    recorded = Reason.USER_DISABLED if user is not None and user.disabled else reason  # told to nobody but the record
    await trail.attempt(context, action, source, user=user, typed_login=typed_login, reason=recorded, factor=factor)
    return SignInRefused(reason if until is None else Reason.ACCOUNT_WAITING, until)


async def _rehash(context: ControlContext, factor: Factor, password: str) -> None:
    if context.hasher.outdated(factor.data["hash"]):
        fresh = replace(factor, data={**factor.data, "hash": await context.hasher.hash(password)})
        await context.steward.call("factor.put", factor=fresh.to_row())


def _newest(candidates: tuple[Factor, ...]) -> Factor | None:
    return candidates[-1] if candidates else None
