"""The steward's time: never back, no leaps believed, remembered over restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.state.clock import LEAP, Mark, SteadyClock


class Clocks:
    """A wall clock and a boot clock that tests move."""

    def __init__(self, wall: float = 1_000_000.0, boot: float = 500.0) -> None:
        self.wall, self.boot = wall, boot

    def steady(self, mark: Mark | None = None, boot_name: str = "b1") -> SteadyClock:
        return SteadyClock(mark, boot_name, lambda: self.wall, lambda: self.boot)

    def go(self, seconds: float, step: float = 0.0) -> None:
        self.boot += seconds
        self.wall += seconds + step


@pytest.mark.promise("P1.time-never-back")
def test_a_wall_clock_set_back_makes_no_session_longer() -> None:
    clocks = Clocks()
    clock = clocks.steady()
    before = clock.now()
    clocks.go(60, step=-3600)
    assert clock.now() == pytest.approx(before + 60)
    assert not clock.jumped


@pytest.mark.promise("P1.leap-refused")
def test_a_leap_forwards_is_not_believed_until_accepted() -> None:
    clocks = Clocks()
    clock = clocks.steady()
    before = clock.now()
    clocks.go(1, step=3600)
    assert clock.now() == pytest.approx(before + 1)
    assert clock.jumped
    assert clock.accept() == pytest.approx(3600)
    assert clock.now() == pytest.approx(before + 3601)
    assert not clock.jumped


def test_small_steps_are_followed_but_do_not_add_up() -> None:
    clocks = Clocks()
    clock = clocks.steady()
    for _ in range(3):
        clocks.go(1, step=LEAP / 2)
        clock.now()
    assert clock.jumped
    assert clock.now() <= clocks.boot + (1_000_000.0 - 500.0) + LEAP


def test_a_restart_goes_on_from_the_mark() -> None:
    clocks = Clocks()
    mark = clocks.steady().mark()
    clocks.go(10, step=-7200)
    assert clocks.steady(mark).now() == pytest.approx(mark.time + 10)
    clocks.go(0, step=2 * 7200)
    again = clocks.steady(mark)
    again.now()
    assert again.jumped


def test_after_a_reboot_the_mark_still_holds_time_back_from_running_back() -> None:
    clocks = Clocks()
    mark = clocks.steady().mark()
    clocks.wall, clocks.boot = mark.time - 3600, 5.0
    assert clocks.steady(mark, "b2").now() >= mark.time


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-5000, 5000)), max_size=30))
def test_it_never_runs_back(moves: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    clock = clocks.steady()
    last = clock.now()
    for seconds, step in moves:
        clocks.go(seconds, step)
        now = clock.now()
        assert now >= last + seconds - 1e-6
        last = now


class Passing:
    """Sessions under one steward after another, beside the true time that has passed (the boot clock's)."""

    LIMIT = 3600.0

    def __init__(self) -> None:
        self.clocks = Clocks()
        self.clock = self.clocks.steady()
        self.mark = self.clock.mark()
        self.begun: list[tuple[float, float]] = []  # boot time, end by the steward's time
        self.over: set[int] = set()

    def commit(self) -> None:
        """A command: whatever is decided by a time is kept together with it."""
        self.begun.append((self.clocks.boot, self.clock.now() + self.LIMIT))
        self.mark = self.clock.mark()

    def die(self) -> None:
        """The steward is killed; the next one knows what was kept."""
        self.clock = self.clocks.steady(self.mark)

    def look(self) -> None:
        """No session lives longer than its limit, and none that was over lives again."""
        now = self.clock.now()
        for number, (boot, ends) in enumerate(self.begun):
            over = ends <= now
            assert over or self.clocks.boot - boot < self.LIMIT + 1e-3
            assert over or number not in self.over
            if over:
                self.over.add(number)
                self.mark = self.clock.mark()  # its end is a command, too


STEPS = st.one_of(
    st.sampled_from([-365 * 86_400.0, -3600.0, 3600.0, 365 * 86_400.0]), st.floats(-LEAP, LEAP), st.floats(-5000, 5000)
)


@pytest.mark.promise("P1.no-session-outlives-its-limit")
@given(st.lists(st.tuples(st.floats(0, 2000), STEPS, st.sampled_from(["", "commit", "die", "accept"])), max_size=40))
def test_no_session_outlives_its_limit_however_the_clock_is_set(moves: list[tuple[float, float, str]]) -> None:
    passing = Passing()
    passing.commit()
    for seconds, step, act in moves:
        passing.clocks.go(seconds, step)
        passing.look()
        if act == "accept":
            passing.clock.accept()
            passing.mark = passing.clock.mark()
        elif act:
            getattr(passing, act)()
        passing.look()
