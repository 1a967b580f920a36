"""The factors of one person: what the store holds in each kind's `data`, and how a factor is made.

| kind | data |
|---|---|
| password | `hash` (Argon2id) |
| totp | `secret` (base32), `last_step` (the newest time step taken) |
| passkey | `credential_id`, `public_key` (base64url), `sign_count`, `aaguid`, `synced` (backup eligible), `backed_up` |
| setup_code | `digest` (keyed), `expires_at` |

The store seals `data` at rest. Every kind may carry `disabled_at`: after too many failures a factor stays listed, and
must be bound anew.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from gateway.identity.lockout import is_disabled
from gateway.state.records import Factor, FactorKind

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext

SECOND_FACTORS = {FactorKind.TOTP: "totp", FactorKind.PASSKEY: "webauthn"}


def new_factor(user_id: str, kind: FactorKind, label: str, data: dict[str, Any], now: float) -> Factor:
    """Make a factor with a fresh id of 96 random bits."""
    return Factor(
        id="f-" + secrets.token_hex(12),
        user_id=user_id,
        kind=kind.value,
        label=label,
        data=data,
        created_at=now,
        last_used_at=None,
    )


def usable(context: ControlContext, user_id: str, kind: FactorKind) -> tuple[Factor, ...]:
    """The person's factors of one kind that are not disabled, oldest first."""
    found = [f for f in context.reader.factors(user_id) if f.kind == kind.value and not is_disabled(f)]
    return tuple(sorted(found, key=lambda factor: factor.created_at))


def second_methods(context: ControlContext, user_id: str) -> tuple[str, ...]:
    """Names of the second factors that the person can use now: `totp`, `webauthn`."""
    return tuple(name for kind, name in SECOND_FACTORS.items() if usable(context, user_id, kind))
