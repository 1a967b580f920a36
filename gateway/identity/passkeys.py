"""Passkeys (WebAuthn Level 3): discoverable, with user verification, checked by the `webauthn` library.

A challenge is 64 random bytes, made here, kept by the caller for one ceremony of at most five minutes and thrown
away at the first answer, right or wrong. A sign count that does not rise refuses the answer: two authenticators may
hold the same key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from gateway.identity.factors import new_factor, usable
from gateway.state.records import Factor, FactorKind, User

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext

CEREMONY_SECONDS = 300.0  # WebAuthn L3, "Ceremony Timeouts"
MAX_ANSWER = 32 * 1024  # characters of an authenticator's answer
MAX_PASSKEYS = 10
# An answer comes from the browser as text: nested without end, it makes the JSON reader give up its own way.
_BROKEN = (WebAuthnException, ValueError, KeyError, TypeError, RecursionError)


class PasskeyRefused(Exception):
    """The authenticator's answer does not prove the person."""


@dataclass(frozen=True, slots=True)
class Ceremony:
    """One open ceremony: what the browser gets, and the challenge that its answer must carry."""

    options: str  # JSON for parseCreationOptionsFromJSON / parseRequestOptionsFromJSON
    challenge: bytes = field(repr=False)
    expires_at: float


def begin_registration(context: ControlContext, user: User) -> Ceremony:
    """Open a ceremony that adds a passkey of `user`; authenticators that hold one already are left out."""
    portal = context.settings.portal
    options = generate_registration_options(
        rp_id=portal.rp_id,
        rp_name=portal.organisation,
        user_id=user.id.encode(),
        user_name=user.login,
        user_display_name=user.name,
        timeout=int(CEREMONY_SECONDS * 1000),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            require_resident_key=True,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_descriptors(usable(context, user.id, FactorKind.PASSKEY)),
    )
    return Ceremony(options_to_json(options), options.challenge, context.clock() + CEREMONY_SECONDS)


def finish_registration(
    context: ControlContext, ceremony: Ceremony | None, user: User, answer: str, label: str
) -> Factor:
    """Verify the answer and return the new factor, not yet stored. Raises PasskeyRefused."""
    challenge = _open_challenge(context, ceremony, answer)
    try:
        proven = verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=context.settings.portal.rp_id,
            expected_origin=context.settings.portal.origin,
            require_user_verification=True,
        )
    except _BROKEN as error:
        raise PasskeyRefused(type(error).__name__) from None
    data = {
        "credential_id": bytes_to_base64url(proven.credential_id),
        "public_key": bytes_to_base64url(proven.credential_public_key),
        "sign_count": proven.sign_count,
        "aaguid": proven.aaguid,
        "synced": proven.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
        "backed_up": proven.credential_backed_up,
    }
    return new_factor(user.id, FactorKind.PASSKEY, label, data, context.clock())


def begin_sign_in(context: ControlContext, user: User | None) -> Ceremony:
    """Open a ceremony; without a person any discoverable passkey of this portal may answer."""
    allowed = _descriptors(usable(context, user.id, FactorKind.PASSKEY)) if user is not None else []
    options = generate_authentication_options(
        rp_id=context.settings.portal.rp_id,
        timeout=int(CEREMONY_SECONDS * 1000),
        allow_credentials=allowed,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return Ceremony(options_to_json(options), options.challenge, context.clock() + CEREMONY_SECONDS)


def claimed_user(context: ControlContext, answer: str) -> User | None:
    """Whom the answer claims to prove (its user handle); nothing is verified yet."""
    try:
        handle = base64url_to_bytes(json.loads(answer)["response"]["userHandle"]).decode()
    except (*_BROKEN, AttributeError):
        return None
    return context.reader.user(handle)


def finish_sign_in(context: ControlContext, ceremony: Ceremony | None, user: User | None, answer: str) -> Factor:
    """Verify the answer of `user` and return the factor with its new sign count. Raises PasskeyRefused."""
    challenge = _open_challenge(context, ceremony, answer)
    if user is None:
        raise PasskeyRefused("unknown user handle")
    factor = _find(usable(context, user.id, FactorKind.PASSKEY), answer)
    try:
        proven = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=context.settings.portal.rp_id,
            expected_origin=context.settings.portal.origin,
            credential_public_key=base64url_to_bytes(factor.data["public_key"]),
            credential_current_sign_count=factor.data["sign_count"],
            require_user_verification=True,
        )
    except _BROKEN as error:
        raise PasskeyRefused(type(error).__name__) from None
    now = context.clock()
    data = {**factor.data, "sign_count": proven.new_sign_count, "backed_up": proven.credential_backed_up}
    return replace(factor, data=data, last_used_at=now)


def amr_of(factor: Factor) -> tuple[str, ...]:
    """RFC 8176 names: a synced key is held in software, another one by hardware; the person was verified."""
    return ("swk" if factor.data["synced"] else "hwk", "user", "mfa")


def _open_challenge(context: ControlContext, ceremony: Ceremony | None, answer: str) -> bytes:
    if ceremony is None or context.clock() > ceremony.expires_at:
        raise PasskeyRefused("no open ceremony")
    if len(answer) > MAX_ANSWER:
        raise PasskeyRefused("too long")
    return ceremony.challenge


def _find(passkeys: tuple[Factor, ...], answer: str) -> Factor:
    try:
        credential_id = str(json.loads(answer)["id"])
    except _BROKEN:
        raise PasskeyRefused("malformed") from None
    for factor in passkeys:
        if factor.data["credential_id"] == credential_id:
            return factor
    raise PasskeyRefused("unknown credential")


def _descriptors(passkeys: tuple[Factor, ...]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(f.data["credential_id"])) for f in passkeys]
