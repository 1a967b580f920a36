"""One failure counter per account, whatever spelling was typed and whichever way in was tried.

The steward keeps the counters (they survive restarts) and computes the growing wait. Accounts that do not exist are
counted in the same way, so that waiting tells nobody which accounts exist.
"""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from audit.event import Action
from gateway.identity import trail

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext, Source
    from gateway.state.records import Factor, User

MAX_LOGIN = 254  # longest e-mail address, RFC 5321 §4.5.3.1.3


def canonical_login(typed: str) -> str:
    """One spelling for all: NFKC, case folded, no blanks around (CVE-2026-47203 and its kind)."""
    return unicodedata.normalize("NFKC", typed[: 4 * MAX_LOGIN]).strip().casefold()[:MAX_LOGIN]


def find_user(context: ControlContext, typed: str) -> User | None:
    """Look a person up by login or e-mail in any spelling; None for the unknown and the ambiguous."""
    canonical = canonical_login(typed)
    user = context.reader.user_by_login(canonical)
    if user is not None or "@" not in canonical:
        return user
    by_mail = [person for person in context.reader.users() if canonical_login(person.email) == canonical]
    return by_mail[0] if len(by_mail) == 1 else None


def account_key(context: ControlContext, user: User | None, typed: str) -> str:
    """Return the counter's name: the user's id, or a keyed digest of what was typed."""
    if user is not None:
        return f"user:{user.id}"
    return "unknown:" + context.digests.make("account", canonical_login(typed))


async def waiting_until(context: ControlContext, account: str) -> float | None:
    """Return the epoch second until which the account has to wait, or None. Raises StewardUnavailable."""
    state = await context.steward.call("attempt.get", account=account)
    until = state.get("wait_until")
    return float(until) if until is not None and until > context.clock() else None


async def count_failure(
    context: ControlContext, account: str, user: User | None, factor: Factor | None, source: Source
) -> tuple[int, float | None]:
    """Count one failure; at the settings' limit the factor is disabled until it is bound anew.

    Returns the count and until when the account waits now (None = it may try again at once).
    """
    state = await context.steward.call("attempt.fail", account=account)
    count, until = int(state["count"]), state.get("wait_until")
    if count >= context.settings.sign_in.disable_after and user is not None and factor is not None:
        await _disable(context, user, factor, source)
    return count, float(until) if until is not None and until > context.clock() else None


async def clear(context: ControlContext, account: str) -> None:
    """Forget the failures: only after every factor of a sign-in was right."""
    await context.steward.call("attempt.clear", account=account)


def is_disabled(factor: Factor) -> bool:
    """Whether the factor was switched off after too many failures (SP 800-63B-4 §3.2.2)."""
    return factor.data.get("disabled_at") is not None


async def _disable(context: ControlContext, user: User, factor: Factor, source: Source) -> None:
    if is_disabled(factor):
        return
    await trail.factor_act(context, Action.FACTOR_DISABLED, source, user, factor, by="sekisho")
    disabled = replace(factor, data={**factor.data, "disabled_at": context.clock()})
    await context.steward.call("factor.put", factor=disabled.to_row())
