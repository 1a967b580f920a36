"""Receipts: what a revocation did, signed, so that anyone with the public key can check it offline.

A receipt is one JSON text `{"receipt": "<payload>", "key_id": "<16 hex>", "signature": "<base64>"}`. The payload is
itself JSON, carried as a string: the Ed25519 signature is over a fixed prefix and the payload's exact UTF-8 bytes, so
nothing is ever re-serialised in order to be verified. `key_id` is the start of the SHA-256 of the raw public key; it
says which key to try and proves nothing by itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_CONTEXT: Final = b"sekisho receipt v1\n"  # a signature made for anything else is worthless here
_VERSION: Final = 1


class ReceiptInvalid(Exception):
    """The text is no receipt signed by this key: malformed, altered, or of another signer."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was ended or locked, and when. Times are seconds since the epoch (UTC)."""

    kind: str  # session.end | lock.add | user.disable | …
    id: str
    who: str  # the operator's login
    reason: str
    targets: tuple[str, ...]  # what was named: user:…, session:…, app:…
    durable_at: float  # when the act was on disk: revocation time counts from here
    sessions: tuple[str, ...]  # ids of the sessions that ended
    closed: dict[str, int]  # live connections closed, by worker
    fenced: tuple[str, ...]  # workers killed because they did not answer in time
    last_ack_at: float  # when the last worker had closed its connections
    checkpoint: str  # the latest checkpoint of the log (note text), "" before the first one


def key_id(public_key: Ed25519PublicKey) -> str:
    """Return the short name of a key: 16 hex digits of the SHA-256 of its raw form."""
    return hashlib.sha256(public_key.public_bytes_raw()).hexdigest()[:16]


def sign_receipt(receipt: Receipt, private_key: Ed25519PrivateKey) -> str:
    """Return the signed text of a receipt (one line of JSON)."""
    payload = orjson.dumps({"v": _VERSION, **asdict(receipt)}, option=orjson.OPT_SORT_KEYS)
    signature = private_key.sign(_CONTEXT + payload)
    return orjson.dumps(
        {
            "receipt": payload.decode(),
            "key_id": key_id(private_key.public_key()),
            "signature": base64.b64encode(signature).decode(),
        }
    ).decode()


def verify_receipt(text: str, public_key: Ed25519PublicKey) -> Receipt:
    """Return the receipt that `text` proves; raise `ReceiptInvalid` if it proves none."""
    try:
        envelope = orjson.loads(text)
        payload = envelope["receipt"].encode()
        signature = base64.b64decode(envelope["signature"], validate=True)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeEncodeError, binascii.Error) as error:
        raise ReceiptInvalid(f"not a receipt: {error}") from error
    try:
        public_key.verify(signature, _CONTEXT + payload)
    except InvalidSignature as error:
        raise ReceiptInvalid(
            f"the signature does not fit: got key {envelope.get('key_id')!r}, expected {key_id(public_key)}"
        ) from error
    return _parse(payload)


def _parse(payload: bytes) -> Receipt:
    fields: dict[str, Any] = orjson.loads(payload)
    version = fields.pop("v", None)
    if version != _VERSION:
        raise ReceiptInvalid(f"version: got {version!r}, expected {_VERSION}")
    for name in ("targets", "sessions", "fenced"):
        fields[name] = tuple(fields[name])
    return Receipt(**fields)
