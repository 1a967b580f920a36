"""Passwords: Argon2id (RFC 9106) in a small bounded pool, and the rules of NIST SP 800-63B-4 §3.1.1.2.

A hash costs about 70 ms and 19 MiB; without a bound, sign-in attempts could starve the machine that also carries
everyone's requests. The password is always one of two factors here, so eight characters are the floor.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.settings_parts.bounds import SignIn

if TYPE_CHECKING:
    from gateway.state.records import User

MIN_LENGTH = 8
SUGGESTED_LENGTH = 12
MAX_LENGTH = 256
QUEUE_PER_WORKER = 16  # 16 × 70 ms: who waits longer than about a second is told to come back
_LOGIN_PART = 4  # a login shorter than this may occur in a good password by chance

_Result = TypeVar("_Result")


class PasswordFault(StrEnum):
    """Why a new password is not taken."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    COMMON = "common"
    PERSONAL = "personal"
    MISTYPED = "mistyped"


class HashingBusy(Exception):
    """The pool's queue is full: the attempt is refused, not queued without end."""


class PasswordHasher:
    """Argon2id with the parameters of the settings, at most `hash_workers` at a time."""

    def __init__(self, settings: SignIn) -> None:
        self._argon = argon2.PasswordHasher(
            time_cost=settings.argon2_time,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            hash_len=32,
            salt_len=32,  # SP 800-63B-4 §3.1.1.2
        )
        self._pool = ThreadPoolExecutor(settings.hash_workers, thread_name_prefix="argon2")
        self._room = settings.hash_workers * QUEUE_PER_WORKER
        self._share = self._room // 2
        self._asking: Counter[str] = Counter()  # comparisons under way, by address
        self._dummy = self._argon.hash("no account has this password")

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a normalised password. Raises HashingBusy."""
        return await self._run(lambda: self._argon.hash(normalise(password)))

    async def verify(self, encoded: str | None, password: str, address: str = "") -> bool:
        """Compare; `None` (no such account) costs the same time and is never true.

        One `address` ("" = this machine) has half of the room at most: no single caller keeps everybody else from
        signing in. Raises HashingBusy.
        """

        def compare() -> bool:
            try:
                self._argon.verify(self._dummy if encoded is None else encoded, normalise(password))
            except (VerificationError, InvalidHashError):
                return False
            return encoded is not None

        if not address:
            return await self._run(compare)
        if self._asking[address] >= self._share:
            raise HashingBusy
        self._asking[address] += 1
        try:
            return await self._run(compare)
        finally:
            self._asking[address] -= 1
            if not self._asking[address]:
                del self._asking[address]

    def outdated(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._argon.check_needs_rehash(encoded)

    def close(self) -> None:
        """Let running hashes end and stop the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._room <= 0:
            raise HashingBusy
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._room += 1


def normalise(password: str) -> str:
    """NFKC, so that the same keys give the same password on every keyboard; longer input is cut off unread."""
    return unicodedata.normalize("NFKC", password[: 4 * MAX_LENGTH])


def personal_words(user: User, organisation: str) -> tuple[str, ...]:
    """What others know of the person, and so what a password of theirs must not hold."""
    return (user.login, user.name, user.email.partition("@")[0], organisation)


def find_fault(password: str, again: str, personal: tuple[str, ...]) -> PasswordFault | None:
    """Return why `password` is not taken, or None. `personal` are the login, name and the like of the person."""
    plain = normalise(password)
    folded = plain.casefold()
    if plain != normalise(again):
        return PasswordFault.MISTYPED
    if len(plain) < MIN_LENGTH:
        return PasswordFault.TOO_SHORT
    if len(plain) > MAX_LENGTH:
        return PasswordFault.TOO_LONG
    if folded in _blocklist() or len(set(folded)) < 4 or _is_run(folded):
        return PasswordFault.COMMON
    for word in personal:
        part = normalise(word).casefold()
        if len(part) >= _LOGIN_PART and part in folded:
            return PasswordFault.PERSONAL
    return None


def _is_run(folded: str) -> bool:
    """Whether every character is the neighbour of the one before: 12345678, hgfedcba."""
    steps = {ord(right) - ord(left) for left, right in pairwise(folded)}
    return steps in ({1}, {-1})


@cache
def _blocklist() -> frozenset[str]:
    text = files("gateway.identity").joinpath("blocklist.txt").read_text(encoding="utf-8")
    return frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
