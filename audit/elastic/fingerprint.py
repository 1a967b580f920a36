"""One number for a document, and one for any set of them: equal sums mean equal sets, duplicates counted.

The sum is a multiset hash (MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend and Suh, "Incremental Multiset Hash
Functions and Their Application to Memory Integrity Checking", ASIACRYPT 2003): documents may come in any order, in
constant memory. Its key is drawn anew for each comparison and never stored, so that nobody who can write to a copy can
choose documents whose sum is the one that is expected.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import orjson

_SIZE: Final = 32  # bytes
_MODULUS: Final = 1 << (8 * _SIZE)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Prints of one comparison."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(_SIZE), repr=False)

    def of(self, dataset: str, name: str, body: Mapping[str, Any]) -> int:
        """Return the print of a document: its dataset, its id and its content, whatever the order of its fields."""
        text = orjson.dumps([dataset, name, body], option=orjson.OPT_SORT_KEYS)
        return int.from_bytes(blake2b(text, digest_size=_SIZE, key=self.key).digest())


@dataclass(slots=True)
class Tally:
    """How many documents there were, and their prints' sum."""

    count: int = 0
    total: int = 0

    def add(self, number: int) -> None:
        """Count one document."""
        self.count += 1
        self.total = (self.total + number) % _MODULUS
