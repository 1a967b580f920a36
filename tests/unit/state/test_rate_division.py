"""One rate between several workers: its parts, its division by demand, and the steward's book of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.state.leases import Key, Leases
from gateway.state.shares import Rate, divide

A, B, C = ("worker-0", 10), ("worker-1", 11), ("worker-2", 12)
SESSION = ("session", "s1")


@pytest.mark.parametrize(
    ("left", "demands", "least", "expected"),
    [
        pytest.param(100, {"a": 9, "b": 0}, 1, {"a": 75, "b": 25}, id="half by demand, half alike"),
        pytest.param(100, {"a": 5, "b": 5}, 1, {"a": 50, "b": 50}, id="same demand"),
        pytest.param(100, {"a": 3, "b": 1, "c": 0, "d": 0}, 1, {"a": 50, "b": 25, "c": 12.5, "d": 12.5}, id="four"),
        pytest.param(90, {"a": 0, "b": 0, "c": 0}, 1, {"a": 30, "b": 30, "c": 30}, id="nobody asks"),
        pytest.param(40, {"a": 7}, 1, {"a": 40}, id="one worker has it all"),
        pytest.param(2, {"a": 6, "b": 0}, 1, {"a": 1.5, "b": 1}, id="whoever is asked next has one"),
        pytest.param(0.5, {"a": 6, "b": 0}, 1, {"a": 0.5, "b": 0.5}, id="never more than is left"),
        pytest.param(0, {"a": 6, "b": 1}, 1, {"a": 0, "b": 0}, id="nothing left"),
        pytest.param(-7.5, {"a": 6, "b": 1}, 1, {"a": 0, "b": 0}, id="more taken than there was"),
        pytest.param(10, {}, 1, {}, id="nobody there"),
    ],
)
def test_what_is_left_is_divided(
    left: float, demands: dict[str, float], least: float, expected: dict[str, float]
) -> None:
    assert divide(left, demands, least) == pytest.approx(expected)


@given(
    st.floats(-1e3, 1e6),
    st.dictionaries(st.integers(0, 63), st.floats(0, 1e6), max_size=64),
    st.floats(1, 1e3),
)
@example(1.0, {0: 5e-324}, 1.0)
def test_a_division_adds_up(left: float, demands: dict[int, float], least: float) -> None:
    shares = divide(left, demands, least)
    assert shares.keys() == demands.keys()
    assert all(0 <= share <= max(left, 0) * (1 + 1e-9) for share in shares.values())
    assert sum(shares.values()) <= max(left, 0) * (1 + 1e-9) + sum(share <= least for share in shares.values()) * least
    if left > 0 and demands:
        assert sum(shares.values()) >= left * (1 - 1e-9)
    ordered = sorted(demands, key=demands.__getitem__)
    assert all(shares[low] <= shares[high] for low, high in pairwise(ordered))


@given(st.floats(0.1, 1e6), st.floats(1, 1e6), st.integers(2, 64))
def test_the_parts_make_up_the_rate(per_second: float, burst: float, workers: int) -> None:
    rate = Rate(per_second, burst)
    part = rate.part(workers)
    assert part.per_second * workers == pytest.approx(per_second)
    assert part.burst * workers <= max(burst, per_second * 0.3, workers) * (1 + 1e-9)
    assert rate.least(workers) * workers <= max(workers, per_second * 6) * (1 + 1e-9)


def book(workers: int = 2, capacity: int = 10) -> Leases:
    leases = Leases({"session": Rate(10, 40)}, workers, capacity)
    for key in (A, B, C)[:workers]:
        leases.joined(key)
    return leases


def told(leases: Leases, now: float) -> dict[Key, list[float]]:
    """The limits that each worker is told for the one session."""
    return {key: [each[2] for each in tidings.names] for key, tidings in leases.round(now).items()}


def test_nobody_gets_more_than_the_part_before_all_have_told_what_they_took() -> None:
    leases = book()
    leases.heard(A, [(*SESSION, 12, 12)], 0.0)
    assert told(leases, 0.0) == {A: [20.0], B: [20.0]}  # what B may have taken meanwhile is set aside
    leases.heard(B, [(*SESSION, 0, 0)], 0.001)
    limits = told(leases, 0.001)
    assert limits[A][0] == pytest.approx(12 + 28 * 0.75, abs=0.1)
    assert limits[B][0] == pytest.approx(28 * 0.25, abs=0.1)


def test_a_worker_without_a_connection_keeps_its_part_of_burst_and_rate() -> None:
    leases = book()
    leases.heard(A, [(*SESSION, 20, 20)], 0.0)
    leases.heard(B, [(*SESSION, 20, 20)], 0.0)
    assert told(leases, 0.0) == {A: [20.0], B: [20.0]}
    leases.left(B, dead=False)
    leases.heard(A, [(*SESSION, 0, 50)], 8.0)
    assert told(leases, 8.0) == {
        A: [pytest.approx(20 + 40 - 20, abs=0.1)]
    }  # full in 8 s at half the rate, B's part off
    leases.left(B, dead=True)
    leases.heard(A, [(*SESSION, 0, 50)], 8.1)
    assert told(leases, 8.1) == {A: [pytest.approx(20 + 40, abs=0.1)]}


def test_a_worker_that_comes_later_is_told_of_every_name_and_brings_no_part_of_its_own() -> None:
    """It has let nothing pass: it used to be given a whole part, on top of what was left."""
    leases = book()
    leases.heard(A, [(*SESSION, 12, 12)], 0.0)
    leases.round(0.0)
    leases.joined(C)
    assert told(leases, 0.1)[C] == [pytest.approx((40 - 12 + 1 - 20) / 4, abs=0.1)]  # half alike; B's part set aside
    assert told(leases, 0.2)[C] == []


def test_a_worker_that_comes_back_may_have_used_its_part() -> None:
    leases = book()
    leases.heard(A, [(*SESSION, 12, 12)], 0.0)
    leases.round(0.0)
    leases.left(B, dead=False)
    leases.joined(B)
    assert told(leases, 0.1)[B] == [20.0]


def test_a_name_leaves_the_book_when_it_is_full_and_nobody_asks() -> None:
    leases = book()
    leases.heard(A, [(*SESSION, 12, 12)], 0.0)
    leases.round(0.0)
    leases.heard(B, [(*SESSION, 0, 0)], 0.1)
    assert [tidings.over for tidings in leases.round(0.9, every=True).values()] == [[], []]
    assert [tidings.over for tidings in leases.round(1.3, every=True).values()] == [[SESSION], [SESSION]]
    assert len(leases) == 0


def test_the_book_is_bounded_and_names_beyond_it_stay_at_the_parts() -> None:
    leases = book(capacity=3)
    leases.heard(A, [("session", f"s{number}", 15, 15) for number in range(50)], 0.0)
    assert (len(leases), leases.crowded) == (3, 47)
    assert {each[1] for each in leases.round(0.0)[B].names} == {"s0", "s1", "s2"}
