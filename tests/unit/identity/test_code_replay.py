"""A time-based code is good once, also where the machine's clock is set back; broken answers are refused as answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pyotp
import pytest

from gateway.identity import passkeys
from gateway.identity.authentication import FirstStep, SignInRefused, verify_totp
from gateway.identity.context import ControlContext, Source
from gateway.identity.factors import new_factor
from gateway.identity.turns import Turns
from gateway.state.records import Factor, FactorKind, User
from policies.reasons import Reason

SECRET = pyotp.random_base32(32)
TANAKA = User("tanaka", "tanaka", "田中", "", "", (), "staff", (), False, None, "ja", 0.0)
SOURCE = Source("192.0.2.1", "office", "", None, "")
START = 1_800_000_000.0


@dataclass
class Store:
    """Reader, steward and journal in one; what is remembered of used steps is dropped past its time."""

    now: float = START
    factor: Factor = field(default_factory=lambda: new_factor("tanaka", FactorKind.TOTP, "", {"secret": SECRET}, 0.0))
    used: dict[str, float] = field(default_factory=dict)

    def user(self, _user_id: str) -> User:
        return TANAKA

    def factors(self, _user_id: str) -> list[Factor]:
        return [self.factor]

    async def record(self, _event: dict[str, Any]) -> None:
        return None

    async def call(self, op: str, **args: Any) -> dict[str, Any]:
        if op == "code.use":
            fresh = args["key"] not in self.used
            self.used.setdefault(args["key"], args["expires_at"])
            return {"fresh": fresh}
        if op == "factor.put":
            self.factor = Factor.from_row(args["factor"])
        return {"count": 1, "wait_until": None}

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.used = {key: until for key, until in self.used.items() if until > self.now}

    def context(self) -> ControlContext:
        sign_in = SimpleNamespace(totp_drift_steps=1, disable_after=20)
        made = SimpleNamespace(
            settings=SimpleNamespace(sign_in=sign_in), reader=self, steward=self, journal=self, turns=Turns(),
            clock=lambda: self.now,
        )  # fmt: skip
        return cast("ControlContext", made)


def show(store: Store, at: float) -> str:
    """The outcome of typing the code of the time `at` now."""
    code = pyotp.TOTP(SECRET).at(at)
    first = FirstStep(TANAKA, "user:tanaka", ("totp",), store.now)
    try:
        asyncio.run(verify_totp(store.context(), first, code, SOURCE))
    except SignInRefused as refused:
        return refused.reason.value
    return "in"


def test_a_code_is_good_once_and_the_next_one_again() -> None:
    store = Store()
    assert show(store, START) == "in"
    assert show(store, START) == Reason.CODE_REUSED
    store.pass_time(30)
    assert show(store, START) == Reason.CODE_REUSED
    assert show(store, START + 30) == "in"


def test_a_clock_set_back_makes_no_old_code_good_again() -> None:
    store = Store()
    assert show(store, START) == "in"
    store.pass_time(3600)
    assert show(store, START + 3600) == "in"
    assert len(store.used) == 1, "the first step is not remembered any more"
    store.now = START
    assert show(store, START) == Reason.CODE_REUSED


@pytest.mark.parametrize(
    "answer", ["[" * 20_000, '{"id":' * 4000, '{"id": 5, "response": {"userHandle": "/w"}}', "\0", ""]
)
def test_a_broken_passkey_answer_is_a_refusal_and_no_fault(answer: str) -> None:
    store = Store()
    context = store.context()
    passkeys.claimed_user(context, answer)
    ceremony = passkeys.Ceremony("{}", b"c" * 64, store.now + 60)
    with pytest.raises(passkeys.PasskeyRefused):
        passkeys.finish_sign_in(context, ceremony, TANAKA, answer)
