"""Time-based codes (RFC 6238): SHA-1, six digits, 30 seconds, the values every authenticator app knows."""

from __future__ import annotations

import hmac
import unicodedata

import pyotp
import segno

STEP_SECONDS = 30
DIGITS = 6


def new_secret() -> str:
    """Return a fresh base32 secret of 160 bits (RFC 4226 §4)."""
    return pyotp.random_base32(length=32)


def normalise_code(typed: str) -> str | None:
    """Return six ASCII digits, or None. Full-width digits, spaces and hyphens are what people copy; they are fine."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", typed[:64]) if not c.isspace() and c not in "-‐‑–ー")
    return plain if len(plain) == DIGITS and plain.isascii() and plain.isdigit() else None


def matching_step(secret: str, typed: str, now: float, drift: int) -> int | None:
    """Return the time step whose code was typed, at most `drift` steps from now, or None.

    Every candidate is compared in constant time. The caller uses the step up (RFC 6238 §5.2: once only).
    """
    code = normalise_code(typed)
    otp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS)
    current = int(now // STEP_SECONDS)
    found: int | None = None
    for step in range(current - drift, current + drift + 1):
        if hmac.compare_digest(otp.generate_otp(step), code or "------"):
            found = step
    return found


def step_expiry(step: int, drift: int) -> float:
    """Epoch second from which the step can no longer be typed, so its use need not be remembered longer."""
    return float((step + drift + 2) * STEP_SECONDS)


def enrolment_uri(secret: str, login: str, issuer: str) -> str:
    """Return the `otpauth` URI that authenticator apps read."""
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS).provisioning_uri(name=login, issuer_name=issuer)


def enrolment_qr(uri: str) -> str:
    """Return the URI as an inline SVG, black on white with the quiet zone; the page's style sizes it."""
    return segno.make_qr(uri, error="m").svg_inline(border=4, dark="#000", light="#fff", svgclass="qr", omitsize=True)


def grouped(secret: str) -> str:
    """The secret in groups of four, for those who type it."""
    return " ".join(secret[i : i + 4] for i in range(0, len(secret), 4))
