"""Versions of a policy: their name (a hash of the source) and their difference in words."""

from __future__ import annotations

import hashlib


def policy_hash(source: bytes) -> str:
    """The name of a version: hex SHA-256 of its exact source."""
    return hashlib.sha256(source).hexdigest()
