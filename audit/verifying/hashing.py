"""What the pieces of a verification hash with: a record after the other, or many side by side where that is worth it.

Both are the same functions of the same bytes; what differs is time. The second needs the extra `verify`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from audit import merkle, segment
from audit.merkle import Prefixed
from audit.segment import Chained

WORTH: Final = 150_000  # records that make up for loading what hashes side by side: about a second


class Hashing(NamedTuple):
    """Functions of modules, so that they can be pickled."""

    chained: Chained
    """As `audit.segment.chained`."""
    prefixed: Prefixed
    """As `audit.merkle.prefixed`."""
    worth: int
    """How many records make up for starting one more process that hashes so."""


PLAIN: Final = Hashing(segment.chained, merkle.prefixed, worth=20_000)


def fastest(records: int) -> Hashing:
    """Return what takes the least time for so many records here."""
    if records < WORTH:
        return PLAIN
    try:
        from audit.verifying import lines, sha256  # noqa: PLC0415 (loading them is what has to be worth it)

        proved = sha256.proved()
    except Exception:  # noqa: BLE001 (not installed, cannot be loaded or compiled here: the plain way is always there)
        return PLAIN
    return Hashing(lines.chained, sha256.prefixed, worth=400_000) if proved else PLAIN
