"""The chain over a journal's lines, many lines at once: what `audit.segment.chained` does, compiled by numba.

The lines are laid out for `audit.verifying.sha256`, hashed side by side, and each is then compared with what the one
before it requires. Whatever is not exactly that ends the run: what is wrong with that line, `audit.segment` says. One
line of each batch, chosen at random, is checked plainly too.
"""

from __future__ import annotations

import errno
import random
from typing import Any, Final

import numpy as np
from numba import int64, njit, types, uint8

from audit import segment
from audit.segment import BODY_AT, BODY_OPEN, PREV_OPEN, SALT_OPEN
from audit.verifying.sha256 import BLOCK, compiled, digests

_SALT_OPEN: Final = np.frombuffer(SALT_OPEN, np.uint8)
_BODY_OPEN: Final = np.frombuffer(BODY_OPEN, np.uint8)
_PREV_OPEN: Final = np.frombuffer(PREV_OPEN, np.uint8)
_PREV_CLOSE: Final = np.frombuffer(b'",', np.uint8)
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_SALT: Final = 16  # bytes
_ENTRY: Final = 32  # bytes
_LEAST: Final = BODY_AT + 2  # bytes of a line that has a salt and a body
_MOST: Final = 1 << 62  # a number that a folder's hostile names may exceed
_READ: Final = types.Array(uint8, 1, "C", readonly=True)


@njit(inline="always")
def _digit(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    return byte - 87 if 97 <= byte <= 102 else -1


@compiled(int64(_READ, int64[::1], uint8[::1], int64[::1], int64[::1]))
def _lay_out(data: Any, lines: Any, padded: Any, ends: Any, sizes: Any) -> Any:
    """Write salt, body and padding of each line; returns how many lines those are before one that has none."""
    start, block = 0, 0
    for number in range(lines.size):
        stop = lines[number]
        if stop - start < _LEAST:
            return number
        to = BLOCK * block
        for at in range(_SALT):
            high = _digit(data[start + _SALT_OPEN.size + 2 * at])
            low = _digit(data[start + _SALT_OPEN.size + 2 * at + 1])
            if high < 0 or low < 0:
                return number
            padded[to + at] = 16 * high + low
        body = data[start + BODY_AT : stop - 1]
        room = padded[to + _SALT : to + _SALT + body.size]
        for at in range(body.size):
            room[at] = body[at]
        size = _SALT + body.size
        block += (size + 8) // BLOCK + 1
        padded[to + size] = 0x80
        for at in range(to + size + 1, BLOCK * block - 8):
            padded[at] = 0
        for at in range(8):
            padded[BLOCK * block - 1 - at] = (8 * size >> 8 * at) & 255
        ends[number], sizes[number] = block, size
        start = stop + 1
    return lines.size


@njit
def _stands(data: Any, at: int, wanted: Any) -> bool:
    for offset in range(wanted.size):  # noqa: SIM110 (numba compiles no generators)
        if data[at + offset] != wanted[offset]:
            return False
    return True


@compiled(int64(_READ, int64[::1], _READ, int64, _READ, uint8[:, ::1]))
def _continued(data: Any, lines: Any, head: Any, seq: int, prev: Any, entries: Any) -> Any:
    """Return how many lines continue the chain."""
    start = 0
    for number in range(lines.size):
        stop = lines[number]
        value, digits = seq + number, 1
        while value >= 10:
            value, digits = value // 10, digits + 1
        number_at = start + BODY_AT + head.size
        prev_at = number_at + digits + _PREV_OPEN.size
        if stop < prev_at + 64 + _PREV_CLOSE.size + 2 or data[stop - 1] != 125 or data[stop - 2] != 125:
            return number
        if not (
            _stands(data, start, _SALT_OPEN)
            and _stands(data, start + BODY_AT - _BODY_OPEN.size, _BODY_OPEN)
            and _stands(data, start + BODY_AT, head)
            and _stands(data, number_at + digits, _PREV_OPEN)
            and _stands(data, prev_at + 64, _PREV_CLOSE)
        ):
            return number
        value = seq + number
        for at in range(digits):
            if data[number_at + digits - 1 - at] != 48 + value % 10:
                return number
            value //= 10
        for at in range(32):
            byte = entries[number - 1, at] if number else prev[at]
            if data[prev_at + 2 * at] != _HEX[byte >> 4] or data[prev_at + 2 * at + 1] != _HEX[byte & 15]:
                return number
        start = stop + 1
    return lines.size


def chained(data: bytes, start: bytes, seq: int, prev: bytes) -> tuple[bytes, int]:
    """As `audit.segment.chained`; raises OSError like `digests`."""
    if seq > _MOST or len(prev) != _ENTRY:
        return segment.chained(data, start, seq, prev)
    raw = np.frombuffer(data, np.uint8)
    lines = np.flatnonzero(raw == 10).astype(np.int64)
    padded = np.empty(len(data) + BLOCK * (len(data) // _LEAST + 1), np.uint8)
    ends, sizes = np.empty(len(lines), np.int64), np.empty(len(lines), np.int64)
    count = _lay_out(raw, lines, padded, ends, sizes)
    entries = digests(padded, ends[:count], sizes[:count])
    good = _continued(raw, lines[:count], np.frombuffer(start, np.uint8), seq, np.frombuffer(prev, np.uint8), entries)
    made = entries[:good].tobytes()
    if good:
        at = random.randrange(good)  # noqa: S311 (against faults, not against people)
        line = data[int(lines[at - 1]) + 1 if at else 0 : int(lines[at]) + 1]
        before = made[_ENTRY * (at - 1) : _ENTRY * at] if at else prev
        if segment.chained(line, start, seq + at, before)[0] != made[_ENTRY * at : _ENTRY * (at + 1)]:
            raise OSError(errno.EIO, "the compiled check of a line differs from the plain one on this machine")
    return made, int(lines[good - 1]) + 1 if good else 0
