"""When an upstream is left alone and when it gets requests again: a table, and any order of events in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.edge.breaker import Breaker

FIRST, LONGEST, THRESHOLD = 1.0, 8.0, 3


def opened(at: float = 10.0) -> Breaker:
    """One that three failures at this time have opened."""
    breaker = Breaker(THRESHOLD, FIRST, LONGEST)
    assert [breaker.failed(at, at) for _ in range(THRESHOLD)] == [False, False, True]
    return breaker


def test_an_answer_between_failures_begins_the_count_anew() -> None:
    breaker = Breaker(THRESHOLD, FIRST, LONGEST)
    for _ in range(5):
        assert not breaker.failed(1.0, 1.0)
        assert not breaker.failed(1.0, 1.0)
        assert not breaker.answered(1.0, 1.0)
    assert breaker.calm
    assert breaker.admit(1.0)


def test_open_it_admits_one_request_at_a_time_and_each_time_later() -> None:
    breaker = opened(10.0)
    admitted = [tenth / 10 for tenth in range(100, 600) if breaker.admit(tenth / 10)]
    assert admitted == [11.0, 13.0, 17.0, 25.0, 33.0, 41.0, 49.0, 57.0]  # 1, 2, 4 and then 8 s apart


def test_the_answer_to_a_probe_closes_it_and_its_failure_does_not() -> None:
    breaker = opened(10.0)
    assert breaker.admit(11.0)
    assert not breaker.failed(11.5, 11.0)  # already open: no change
    assert breaker.until == 13.5  # two seconds from the failure
    assert not breaker.admit(13.4)
    assert breaker.admit(13.5)
    assert breaker.answered(13.6, 13.5)
    assert breaker.calm
    assert breaker.admit(13.6)


@pytest.mark.parametrize("began", [0.0, 9.9])
def test_what_began_before_a_change_says_nothing_about_now(began: float) -> None:
    breaker = opened(10.0)
    assert not breaker.answered(10.5, began)  # the last answer of a server that goes down
    assert breaker.open
    until = breaker.until
    assert not breaker.failed(10.9, began)  # a time-out of a request that was sent before
    assert breaker.until == until
    assert breaker.answered(11.1, 11.0)
    assert [breaker.failed(12.0, began) for _ in range(9)] == [False] * 9


def test_one_that_comes_and_goes_is_left_alone_for_longer_each_time() -> None:
    breaker = opened(10.0)
    alone = []
    for _ in range(5):
        alone.append(round(breaker.until - breaker.since, 3))
        now = breaker.until
        assert breaker.answered(now, now)
        for _ in range(THRESHOLD):
            breaker.failed(now, now)
    assert alone == [1.0, 2.0, 4.0, 8.0, 8.0]
    now = breaker.until
    assert breaker.answered(now, now)
    for _ in range(THRESHOLD):
        breaker.failed(now + LONGEST, now + LONGEST)  # well for a long time: as at first
    assert breaker.until - breaker.since == FIRST


def test_failures_that_may_not_open_it_are_counted_and_the_next_one_opens_it() -> None:
    breaker = Breaker(THRESHOLD, FIRST, LONGEST)
    assert not any(breaker.failed(1.0, 1.0, may_open=False) for _ in range(10))
    assert breaker.admit(1.0)
    assert breaker.failed(1.0, 1.0)


class AnyOrder(RuleBasedStateMachine):
    """Requests that begin, fail, are answered or never end, and time that passes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.breaker = Breaker(THRESHOLD, FIRST, LONGEST)
        self.flying: list[float] = []
        self.row = 0  # failures in a row that count, while closed
        self.changed = float("-inf")
        self.probed = float("-inf")  # the last time that a request was admitted while open

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.5, 1.0, 3.0, 8.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def asks(self) -> None:
        was_open, admits = self.breaker.open, self.breaker.admits(self.now)
        assert self.breaker.admit(self.now) is admits
        if not admits:
            assert was_open
            return
        self.flying.append(self.now)
        if was_open:
            assert self.now - max(self.changed, self.probed) >= FIRST
            assert not self.breaker.admit(self.now), "two probes at once"
            self.probed = self.now

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, 1000), may_open=st.booleans())
    def fails(self, which: int, may_open: bool) -> None:
        began = self.flying.pop(which % len(self.flying))
        was_open = self.breaker.open
        heard = began >= self.changed
        self.row += 1 if heard else 0
        expected = heard and not was_open and may_open and self.row >= THRESHOLD
        assert self.breaker.failed(self.now, began, may_open=may_open) is expected
        if expected:
            self.changed, self.row = self.now, 0

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, 1000))
    def is_answered(self, which: int) -> None:
        began = self.flying.pop(which % len(self.flying))
        was_open, heard = self.breaker.open, began >= self.changed
        assert self.breaker.answered(self.now, began) is (was_open and heard)
        if heard:
            self.row = 0
            if was_open:
                self.changed = self.now

    @invariant()
    def it_is_never_left_alone_for_longer_than_the_longest_time(self) -> None:
        assert self.breaker.admits(self.now + LONGEST)
        assert not self.breaker.calm or not self.breaker.open
        assert self.breaker.open or self.breaker.admits(self.now)


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
