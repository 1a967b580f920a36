"""Serial numbers of revoked certificates, packed: a million of them have to fit the memory of every worker.

An authority's numbers are spread over buckets by their CRC-32, so that a list that changed by a few numbers changes a
few rows, and one look costs the same however long the list is. In a bucket they stand in order, each in 20 octets:
20 MB for a million, where a set of texts takes 130 MB.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final
from zlib import crc32

SERIAL_BYTES: Final = 20  # RFC 5280 §4.1.2.2: no serial number is longer
BUCKETS: Final = 4096


def packed(serial: str) -> bytes:
    """Return a serial number (lower-case hex) in its 20 octets; raises ValueError, OverflowError for what is none."""
    return int(serial, 16).to_bytes(SERIAL_BYTES, "big")


def spelled(serial: bytes) -> str:
    """Return 20 octets as the lower-case hex, without leading zeros, that certificates are compared by."""
    return f"{int.from_bytes(serial, 'big'):x}"


def bucket_of(authority: str, serial: bytes) -> str:
    """Return the id of the row that has this number, if any has."""
    return f"{authority}:{crc32(serial) % BUCKETS:03x}"


def joined(serials: Iterable[bytes]) -> bytes:
    """Return numbers as one bucket keeps them: in order, each once."""
    return b"".join(sorted(set(serials)))


def split(bucket: bytes) -> list[bytes]:
    """Return the numbers of a bucket."""
    return [bucket[start : start + SERIAL_BYTES] for start in range(0, len(bucket), SERIAL_BYTES)]


def holds(bucket: bytes, serial: bytes) -> bool:
    """Whether a bucket has this number; as many comparisons as its length has binary digits."""
    count = len(bucket) // SERIAL_BYTES
    place = bisect_left(range(count), serial, key=lambda at: bucket[at * SERIAL_BYTES : (at + 1) * SERIAL_BYTES])
    return bucket[place * SERIAL_BYTES : (place + 1) * SERIAL_BYTES] == serial
