"""The codes that tests sign in with are taken whenever the clock turns over, by the program's own reading of them."""

from __future__ import annotations

import pytest

from gateway.identity import totp
from tests.support.authenticator import Authenticator


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("second", [0.0, 0.01, 15.0, 19.9, 20.0, 20.1, 29.0, 29.99])
@pytest.mark.parametrize("late", [0.0, 0.5, 9.0])
def test_bug_a_code_of_the_step_before_was_refused_after_a_turn_of_the_clock(
    monkeypatch: pytest.MonkeyPatch, second: float, late: float
) -> None:
    clock = Clock(1_790_000_010.0 + second)
    monkeypatch.setattr("tests.support.authenticator.time", clock)
    secret, steps = totp.new_secret(), list[int]()
    app = Authenticator(secret)
    for _ in range(4):
        code = app.code()
        step = totp.matching_step(secret, code, clock.now + late, 1)
        assert step is not None
        steps.append(step)
    assert steps == sorted(set(steps))
