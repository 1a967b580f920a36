"""Records of sign-in and factor acts, in the journal of the control process. No secret has a way in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.event import Action, event
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext, Source
    from gateway.state.records import Factor, User

LOGIN_DIGEST = "login"  # purpose of the keyed digest of a login name that no account has


async def attempt(
    context: ControlContext,
    action: Action,
    source: Source,
    *,
    user: User | None,
    typed_login: str = "",
    reason: Reason | None = None,
    factor: Factor | None = None,
) -> None:
    """Record one attempt and wait until it is kept; no `reason` means success. Raises JournalUnhealthy.

    A login name that no account has may be a password typed into the wrong field: only its digest is kept.
    """
    fields: dict[str, object] = {"event.outcome": "success" if reason is None else "failure", **_origin(source)}
    if reason is not None:
        fields["sekisho.reason"] = reason.value
    if user is not None:
        fields |= _person(user)
    elif typed_login:
        fields["sekisho.account.digest"] = context.digests.make(LOGIN_DIGEST, typed_login)
    if factor is not None:
        fields |= _factor(factor)
    await context.journal.record(event(action, context.clock(), fields))


async def factor_act(
    context: ControlContext, action: Action, source: Source | None, user: User, factor: Factor, by: str
) -> None:
    """Record that a factor of `user` is added or removed by the person `by`, before it is. Raises JournalUnhealthy."""
    origin = _origin(source) if source is not None else {}
    fields = {"event.outcome": "success", "sekisho.by": by, **origin, **_person(user), **_factor(factor)}
    await context.journal.record(event(action, context.clock(), fields))


async def user_act(context: ControlContext, action: Action, user: User, by: str) -> None:
    """Record an act upon an account before it takes effect. Raises JournalUnhealthy."""
    fields = {"event.outcome": "success", "sekisho.by": by, **_person(user)}
    await context.journal.record(event(action, context.clock(), fields))


def _origin(source: Source) -> dict[str, object]:
    fields: dict[str, object] = {"user_agent.original": source.user_agent[:512]}
    if source.address:
        fields["source.ip"] = source.address
    if source.device_id:
        fields["device.id"] = source.device_id
    if source.request_id:
        fields["http.request.id"] = source.request_id
    return fields


def _person(user: User) -> dict[str, object]:
    return {"user.id": user.id, "user.name": user.login}


def _factor(factor: Factor) -> dict[str, object]:
    return {"sekisho.factor.id": factor.id, "sekisho.factor.kind": factor.kind}
