"""Keyed digests (HMAC-SHA-256) of what must be recognised again but never read: set-up codes, unknown login names.

The keys are derived by HKDF (RFC 5869) from the installation's `sealing.key`, so that a digest never helps against
what the store seals with the same file. Secrets of factors are sealed by the store itself (`gateway.state.sealing`).
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


class KeyedDigests:
    """Makes digests with the newest key and recognises those of every key."""

    def __init__(self, keys: list[bytes]) -> None:
        """`keys` are 32 bytes each, the current one first. Raises ValueError."""
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"expected at least one key, each of {KEY_BYTES} bytes")
        self._keys = [_derive(key) for key in keys]

    @classmethod
    def load(cls, path: Path) -> KeyedDigests:
        """Read `sealing.key`: one key a line, 64 hex digits, the current one first. Raises ValueError, OSError."""
        try:
            keys = [bytes.fromhex(line) for line in path.read_text(encoding="ascii").split()]
        except ValueError:
            raise ValueError(f"{path.name}: expected 64 hexadecimal digits a line") from None
        return cls(keys)

    def make(self, purpose: str, value: str) -> str:
        """Return the hex digest of `value`; digests of different purposes never match."""
        return _digest(self._keys[0], purpose, value)

    def match(self, purpose: str, value: str, digest: str) -> bool:
        """Whether `digest` was made from `value` for `purpose`, compared in constant time."""
        return any(hmac.compare_digest(_digest(key, purpose, value), digest) for key in self._keys)


def _digest(key: bytes, purpose: str, value: str) -> str:
    return hmac.new(key, f"{purpose}\0{value}".encode(), hashlib.sha256).hexdigest()


def _derive(key: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=b"sekisho keyed digest v1").derive(key)
