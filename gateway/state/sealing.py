"""Encryption of factor secrets at rest: no password hash, TOTP seed or passkey record lies on the disk in the clear.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce for each sealing; the record's identity is bound as
additional data, so a sealed secret moved to another person's row does not open. The key in the file is never used
itself: this purpose has its own, derived by HKDF (RFC 5869).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"
_KEY_ID = 4  # bytes
_NONCE = 12  # bytes


class SealingFault(Exception):
    """A key file that is none, or sealed bytes that none of our keys opens."""


class Sealing:
    """The sealing keys: the first seals, all open (a key is retired by writing a new one above it)."""

    def __init__(self, keys: list[bytes]) -> None:
        """`keys` are 32 bytes each, the current one first. Raises `SealingFault`."""
        if not keys or any(len(key) != 32 for key in keys):
            raise SealingFault("a sealing key has 32 bytes, and there is at least one")
        self._current = _key_id(keys[0])
        self._ciphers = {_key_id(key): AESGCM(_derive(key)) for key in keys}

    @classmethod
    def load(cls, path: Path) -> Sealing:
        """Read `sealing.key`: one key a line, 64 hex digits, the current one first. Raises `SealingFault`."""
        try:
            return cls([bytes.fromhex(line) for line in path.read_text("ascii").split()])
        except ValueError:
            raise SealingFault(f"{path.name}: expected 64 hex digits a line") from None

    def seal(self, plain: bytes, about: str) -> bytes:
        """Encrypt `plain`; `about` names the record it belongs to and must be given again to open it."""
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._current].encrypt(nonce, plain, about.encode())
        return _VERSION + self._current + nonce + sealed

    def open(self, sealed: bytes, about: str) -> bytes:
        """Decrypt what `seal` made. Raises `SealingFault` for other bytes, another record or a missing key."""
        key_id, rest = sealed[1 : 1 + _KEY_ID], sealed[1 + _KEY_ID :]
        cipher = self._ciphers.get(key_id)
        if sealed[:1] != _VERSION or cipher is None:
            raise SealingFault("sealed with a key that is not in the key file")
        try:
            return cipher.decrypt(rest[:_NONCE], rest[_NONCE:], about.encode())
        except InvalidTag:
            raise SealingFault("sealed bytes were changed or belong to another record") from None

    def __repr__(self) -> str:
        return f"Sealing(current={self._current.hex()})"


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"sekisho sealing key id" + key).digest()[:_KEY_ID]


def _derive(key: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=None, info=b"sekisho store sealing v1").derive(key)
