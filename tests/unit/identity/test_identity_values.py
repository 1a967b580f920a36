"""Passwords, codes, digests, turns: the parts of sign-in that need no store."""

from __future__ import annotations

import asyncio

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import totp
from gateway.identity.digests import KeyedDigests
from gateway.identity.lockout import canonical_login
from gateway.identity.passwords import HashingBusy, PasswordFault, PasswordHasher, find_fault
from gateway.identity.provisioning import new_setup_code
from gateway.identity.turns import Turns
from gateway.settings_parts.bounds import SignIn

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("password", "again", "fault"),
    [
        ("short", "short", PasswordFault.TOO_SHORT),
        ("x" * 257, "x" * 257, PasswordFault.TOO_LONG),
        ("Password123", "Password123", PasswordFault.COMMON),
        ("ＰＡＳＳＷＯＲＤ１", "ＰＡＳＳＷＯＲＤ１", PasswordFault.COMMON),
        ("12345678", "12345678", PasswordFault.COMMON),
        ("aaaaaaaaaaaa", "aaaaaaaaaaaa", PasswordFault.COMMON),
        ("my-s1001-word", "my-s1001-word", PasswordFault.PERSONAL),
        ("tsuki-no-hikari", "tsuki-no-hikara", PasswordFault.MISTYPED),
        ("tsuki-no-hikari", "tsuki-no-hikari", None),
        ("つきのひかりがきれい", "つきのひかりがきれい", None),
    ],
)
def test_password_rules(password: str, again: str, fault: PasswordFault | None) -> None:
    assert find_fault(password, again, ("s1001", "関 所子")) is fault


async def _hash_and_verify() -> None:
    hasher = PasswordHasher(SignIn())
    encoded = await hasher.hash("カタカナ-pass")
    assert await hasher.verify(encoded, "ｶﾀｶﾅ-pass")
    assert not await hasher.verify(encoded, "カタカナ-pasS")
    assert not await hasher.verify(None, "no account has this password")
    assert not await hasher.verify("not a hash", "x")
    assert not hasher.outdated(encoded)
    stronger = PasswordHasher(SignIn(argon2_time=3))
    assert stronger.outdated(encoded)
    hasher.close()
    stronger.close()


def test_hash_is_compared_after_normalisation_and_never_for_nobody() -> None:
    asyncio.run(_hash_and_verify())


async def _flood() -> int:
    hasher = PasswordHasher(SignIn(hash_workers=1))
    answers = await asyncio.gather(*(hasher.verify(None, "x") for _ in range(24)), return_exceptions=True)
    hasher.close()
    return sum(isinstance(answer, HashingBusy) for answer in answers)


@pytest.mark.promise("P4.password-hashing-bounded")
def test_hashing_queue_is_bounded() -> None:
    assert asyncio.run(_flood()) == 24 - 16


async def _flood_from_one_address() -> tuple[int, bool]:
    hasher = PasswordHasher(SignIn(hash_workers=1))
    flood = asyncio.gather(*(hasher.verify(None, "x", "192.0.2.1") for _ in range(24)), return_exceptions=True)
    await asyncio.sleep(0)
    other = await hasher.verify(await hasher.hash("someone else's"), "someone else's", "192.0.2.2")
    refused = sum(isinstance(answer, HashingBusy) for answer in await flood)
    assert not hasher._asking
    hasher.close()
    return refused, other


@pytest.mark.promise("P4.password-hashing-bounded")
def test_one_address_leaves_room_for_the_others() -> None:
    assert asyncio.run(_flood_from_one_address()) == (24 - 8, True)


@pytest.mark.parametrize("shift", [-2, -1, 0, 1, 2])
def test_totp_accepts_one_step_of_drift(shift: int) -> None:
    step = int(NOW // 30) + shift
    found = totp.matching_step(SECRET, pyotp.TOTP(SECRET).generate_otp(step), NOW, drift=1)
    assert found == (step if abs(shift) <= 1 else None)


@pytest.mark.parametrize("typed", ["123 456", "１２３４５６", " 123-456 ", "１２３　４５６"])
def test_totp_code_as_people_type_it(typed: str) -> None:
    assert totp.normalise_code(typed) == "123456"


@given(st.text(max_size=100))
def test_only_six_digits_are_a_code(typed: str) -> None:
    code = totp.normalise_code(typed)
    assert code is None or (len(code) == 6 and code.isascii() and code.isdigit())


@given(st.text(max_size=300))
def test_canonical_login_is_stable(typed: str) -> None:
    once = canonical_login(typed)
    assert len(once) <= 254
    assert canonical_login(once.upper()) == canonical_login(once.lower()) or not once.isascii()


def test_spellings_are_one_account() -> None:
    assert {canonical_login(spelling) for spelling in ("S1001", "ｓ1001", " s１００１ ", "s1001")} == {"s1001"}


def test_setup_code_is_kept_as_digest_only() -> None:
    digests = KeyedDigests([b"k" * 32])
    made = new_setup_code(digests, "u1", NOW, lifetime=60.0)
    plain = made.code.replace("-", "")
    assert len(plain) == 16
    assert plain not in str(made.factor.data)
    assert plain not in repr(made)
    assert digests.match("setup_code", f"u1:{plain}", made.factor.data["digest"])
    assert not digests.match("setup_code", f"u2:{plain}", made.factor.data["digest"])
    rotated = KeyedDigests([b"n" * 32, b"k" * 32])
    assert rotated.match("setup_code", f"u1:{plain}", made.factor.data["digest"])


async def _overlap(turns: Turns) -> int:
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with turns.of("account"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(20)))
    return most


def test_attempts_of_one_account_take_turns() -> None:
    assert asyncio.run(_overlap(Turns())) == 1


def test_qr_is_whole_at_any_size() -> None:
    drawn = totp.enrolment_qr(totp.enrolment_uri(SECRET, "s1001", "portal.city.example.jp"))
    assert "viewBox=" in drawn
    assert 'width="' not in drawn
    assert "style=" not in drawn
