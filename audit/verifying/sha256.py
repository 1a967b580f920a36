"""SHA-256 (FIPS 180-4) of many messages side by side, each in its own lane of the processor's vector registers.

OpenSSL hashes one message at a time, where most of a vector register stays unused. Here numba compiles the loops over
`LANES` into vector instructions of whatever processor this is; when a message ends, its lane takes the next one. The
compiled form is kept beside this file, or in the user's cache folder, so that only the first use compiles (seconds).

A verification must not rest on what a compiler made of it: `proved` compares with OpenSSL before use, and one message
of each batch, chosen at random, is hashed by OpenSSL too.
"""

from __future__ import annotations

import errno
import hashlib
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint32, void

from audit import merkle

LANES: Final = 16
BLOCK: Final = 64  # bytes
_TRIED: Final = (*range(1, 140), 1000)  # bytes behind a prefix of one byte
_PRIMES: Final = [n for n in range(2, 312) if all(n % d for d in range(2, n))]
_K: Final = np.array([int(n ** (1 / 3) % 1 * 2**32) for n in _PRIMES], np.uint32)  # §4.2.2
_H: Final = np.array([int(n**0.5 % 1 * 2**32) for n in _PRIMES[:8]], np.uint32)  # §5.3.3

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


def compiled(signature: Any) -> Callable[[Any], Any]:
    """Return a decorator that compiles a function for these types now."""

    def decorated(function: Any) -> Any:
        try:
            return njit(signature, cache=True)(function)
        except Exception:  # noqa: BLE001 (no folder that could keep it, a full disk, a file cut short)
            return njit(signature)(function)

    return decorated


@njit(inline="always")
def _rotr(x: Any, n: int) -> Any:
    return uint32(uint32(x >> uint32(n)) | uint32(x << uint32(32 - n)))


@njit(inline="always")
def _round(
    v: Any, w: Any, t: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int
) -> None:  # §6.2.2, step 3; the letters are those of the standard
    for lane in range(LANES):
        x = v[e, lane]
        sum1 = uint32(_rotr(x, 6) ^ _rotr(x, 11) ^ _rotr(x, 25))
        choice = uint32(v[g, lane] ^ (x & (v[f, lane] ^ v[g, lane])))
        t1 = uint32(v[h, lane] + sum1 + choice + _K[t] + w[t, lane])
        y = v[a, lane]
        sum0 = uint32(_rotr(y, 2) ^ _rotr(y, 13) ^ _rotr(y, 22))
        majority = uint32((y & v[b, lane]) | (v[c, lane] & (y | v[b, lane])))
        v[d, lane] = uint32(v[d, lane] + t1)
        v[h, lane] = uint32(t1 + sum0 + majority)


@njit(inline="always")
def _schedule(w: Any) -> None:  # §6.2.2, step 1
    for t in range(16, 64):
        for lane in range(LANES):
            x, y = w[t - 15, lane], w[t - 2, lane]
            sigma0 = uint32(_rotr(x, 7) ^ _rotr(x, 18) ^ uint32(x >> uint32(3)))
            sigma1 = uint32(_rotr(y, 17) ^ _rotr(y, 19) ^ uint32(y >> uint32(10)))
            w[t, lane] = uint32(w[t - 16, lane] + sigma0 + w[t - 7, lane] + sigma1)


@njit
def _compress(s: Any, v: Any, w: Any) -> None:
    """Take a block of each lane (the first 16 rows of `w`) into the states `s`; `v` is room to work in."""
    _schedule(w)
    v[:] = s
    for t in range(0, 64, 8):
        _round(v, w, t, 0, 1, 2, 3, 4, 5, 6, 7)
        _round(v, w, t + 1, 7, 0, 1, 2, 3, 4, 5, 6)
        _round(v, w, t + 2, 6, 7, 0, 1, 2, 3, 4, 5)
        _round(v, w, t + 3, 5, 6, 7, 0, 1, 2, 3, 4)
        _round(v, w, t + 4, 4, 5, 6, 7, 0, 1, 2, 3)
        _round(v, w, t + 5, 3, 4, 5, 6, 7, 0, 1, 2)
        _round(v, w, t + 6, 2, 3, 4, 5, 6, 7, 0, 1)
        _round(v, w, t + 7, 1, 2, 3, 4, 5, 6, 7, 0)
    for row in range(8):
        for lane in range(LANES):
            s[row, lane] = uint32(s[row, lane] + v[row, lane])


@compiled(void(uint32[::1], int64[::1], uint32[:, ::1]))
def _hash(words: Any, ends: Any, out: Any) -> None:
    """Hash messages that are padded to whole blocks: `ends` says behind which block each one ends."""
    s, v = np.empty((8, LANES), np.uint32), np.empty((8, LANES), np.uint32)
    w = np.zeros((64, LANES), np.uint32)
    block, end = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    message = np.full(LANES, -1, np.int64)
    taken, busy = 0, 1
    while busy:
        busy = 0
        for lane in range(LANES):
            if message[lane] >= 0 and block[lane] == end[lane]:
                for row in range(8):
                    out[message[lane], row] = s[row, lane]
                message[lane] = -1
            if message[lane] < 0 and taken < ends.size:
                message[lane], end[lane] = taken, ends[taken]
                block[lane] = ends[taken - 1] if taken else 0
                for row in range(8):
                    s[row, lane] = _H[row]
                taken += 1
            if message[lane] >= 0:
                busy += 1
                next_words = words[16 * block[lane] : 16 * block[lane] + 16]
                for t in range(16):
                    w[t, lane] = next_words[t]
                block[lane] += 1
        _compress(s, v, w)


def blocks_of(sizes: Any) -> Any:
    """Return how many blocks messages of these sizes are padded to, §5.1.1."""
    return (sizes + 8) // BLOCK + 1


def digests(padded: Bytes, ends: Numbers, sizes: Numbers) -> Bytes:
    """Return the digests, 32 bytes a row, of messages of these sizes that are padded to end behind these blocks.

    Raises OSError where this processor computes another SHA-256 than OpenSSL.
    """
    out = np.empty((len(ends), 8), np.uint32)
    if len(ends):
        _hash(padded[: BLOCK * int(ends[-1])].view(">u4").astype(np.uint32), ends, out)
    made: Bytes = out.astype(">u4").view(np.uint8)
    if len(ends):
        at = random.randrange(len(ends))  # noqa: S311 (against faults, not against people)
        start = BLOCK * int(ends[at - 1]) if at else 0
        message = padded[start : start + int(sizes[at])].tobytes()
        if hashlib.sha256(message).digest() != made[at].tobytes():
            raise OSError(errno.EIO, "SHA-256 side by side differs from OpenSSL's on this machine")
    return made


def prefixed(prefix: bytes, rows: bytes, width: int) -> bytes:
    """As `audit.merkle.prefixed`; raises OSError like `digests`."""
    count, size = len(rows) // width, len(prefix) + width
    blocks = blocks_of(size)
    padded = np.zeros((count, BLOCK * blocks), np.uint8)
    padded[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    padded[:, len(prefix) : size] = np.frombuffer(rows, np.uint8).reshape(count, width)
    padded[:, size] = 0x80
    padded[:, -8:] = np.frombuffer((8 * size).to_bytes(8), np.uint8)
    ends = np.arange(1, count + 1, dtype=np.int64) * blocks
    return digests(padded.reshape(-1), ends, np.full(count, size, np.int64)).tobytes()


def proved() -> bool:
    """Whether messages of every length around a block's, in every lane, have the digests that OpenSSL gives them."""
    rows = bytes(at % 251 for at in range(20 * max(_TRIED)))
    try:
        return all(
            prefixed(b"p", rows[: 20 * width], width) == merkle.prefixed(b"p", rows[: 20 * width], width)
            for width in _TRIED
        )
    except OSError:
        return False
