"""The signed statement that tells an app who asks: an ES256 JWT (RFC 7519, RFC 7518 §3.4) and its keys (RFC 7517).

Signing costs more than the rest of a request, so one statement serves an app session for up to a minute. It is dropped
as soon as what it says changes, and `exp` ends it after five minutes wherever it went.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm
from jwt.utils import base64url_encode

from gateway.gate.reference import new_reference

if TYPE_CHECKING:
    from gateway.gate.request import Moment
    from gateway.gate.verdict import Forward

LIFETIME: Final = 300  # seconds
REUSE: Final = 60.0  # seconds
CAPACITY: Final = 50_000
_REQUEST_ID: Final = b"X-Sekisho-Request-Id: "
_THUMBPRINT_MEMBERS: Final = ("crv", "kty", "x", "y")  # RFC 7638 §3.2, in lexicographic order


def public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Return the public half as a JWK; `kid` is its thumbprint (RFC 7638)."""
    jwk: dict[str, str] = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS}
    thumbprint = sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**members, "use": "sig", "alg": "ES256", "kid": base64url_encode(thumbprint).decode("ascii")}


def key_set(keys: Sequence[ec.EllipticCurvePrivateKey]) -> dict[str, list[dict[str, str]]]:
    """Return the JWKS document: the key in use first, then the one that will follow it."""
    return {"keys": [public_jwk(key) for key in keys]}


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a P-256 private key. Raises ValueError for anything else."""
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the assertion key must be an EC key on P-256")  # noqa: TRY004  # the file is wrong, no type
    return key


def signed_claims(claims: dict[str, Any], issuer: str, name: str, now: int) -> dict[str, Any]:
    """Return `claims` with what each statement adds: issuer, its own `name` (jti), and when it was made and ends."""
    return {"iss": issuer, **claims, "jti": name, "iat": now, "exp": now + LIFETIME}


@dataclass(slots=True)
class _Signed:
    claims: dict[str, Any]
    header: str
    until: float  # monotonic seconds
    line: bytes = field(repr=False)  # with the end of the line before it


class Signer:
    """Signs for one worker. Not shared between threads."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, issuer: str) -> None:
        """`issuer` is the portal's origin."""
        self._key = key
        self._kid = public_jwk(key)["kid"]
        self._issuer = issuer
        self._signed: dict[str, _Signed] = {}

    def lines(self, verdict: Forward, moment: Moment) -> bytes:
        """Return the header lines that tell the app who asks: plain ones of the preset, request id, assertion."""
        behind, claims = b"\r\n", verdict.claims
        if claims is not None:
            signed = self._signed.get(verdict.app_session_id)
            name = verdict.app.assertion_header
            if (
                signed is None
                or signed.until <= moment.mono
                or signed.header != name
                or (signed.claims is not claims and signed.claims != claims)
            ):
                signed = self._sign(verdict.app_session_id, claims, name, moment)
            behind = signed.line
        lines = _REQUEST_ID + verdict.request_id.encode() + behind
        if verdict.headers:
            return b"".join([b"%b: %b\r\n" % field for field in verdict.headers]) + lines
        return lines

    def _sign(self, app_session_id: str, claims: dict[str, Any], name: str, moment: Moment) -> _Signed:
        payload = signed_claims(claims, self._issuer, new_reference(moment.wall), int(moment.wall))
        token = jwt.encode(payload, self._key, algorithm="ES256", headers={"kid": self._kid})
        value = f"Bearer {token}" if name.lower() == "authorization" else token
        if len(self._signed) >= CAPACITY:
            self._signed.clear()
        signed = _Signed(claims, name, moment.mono + REUSE, f"\r\n{name}: {value}\r\n".encode("ascii"))
        self._signed[app_session_id] = signed
        return signed
