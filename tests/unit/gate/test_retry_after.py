"""Who was refused is told when to come back: never too early, not all at once, not for ever."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.gate.limits import Buckets, Rate
from gateway.gate.reference import chance, new_reference
from gateway.gate.retry_after import UNKNOWN, retry_after

IDS = [new_reference(1_790_000_000 + number / 10) for number in range(4000)]


@given(st.floats(0.001, 60), st.sampled_from(IDS))
def test_nobody_is_told_less_than_the_wait_or_much_more(wait: float, request_id: str) -> None:
    told = retry_after(wait, request_id)
    assert ceil(wait) <= told <= ceil(wait) * 1.5 + 1


@pytest.mark.promise("P4.retry-after-is-the-wait")
@given(st.floats(0.02, 100), st.integers(1, 50), st.integers(0, 60), st.sampled_from(IDS))
def test_who_comes_back_when_told_passes(per_second: float, burst: int, more: int, request_id: str) -> None:
    """Of all that is refused by a rate: its bucket has one by then."""
    buckets = Buckets(Rate(per_second, burst), 10)
    waits = [buckets.take("a", 50.0) for _ in range(burst + more + 1)]
    assert not any(waits[:burst])
    told = [retry_after(wait, request_id) for wait in waits[burst:]]
    assert min(told) >= min(60, 1 / per_second) - 1e-6
    if 1 / per_second <= 60:
        assert buckets.take("a", 50.0 + told[-1]) == 0


@pytest.mark.parametrize(("wait", "values"), [(0.2, {1, 2}), (1.0, {1, 2}), (0.0, {5, 6, 7, 8}), (-1.0, {5, 6, 7, 8})])
def test_clients_are_spread(wait: float, values: set[int]) -> None:
    """Whoever was refused at the same time; a wait that nobody knows is some seconds."""
    assert {retry_after(wait, request_id) for request_id in IDS} == values
    assert min(values) == max(1, ceil(wait)) or (wait <= 0 and min(values) == UNKNOWN)


def test_nobody_is_sent_away_for_long() -> None:
    told = {retry_after(1e9, request_id) for request_id in IDS}
    assert (min(told), max(told)) == (60, 90)


def test_an_id_brings_an_even_chance() -> None:
    parts = Counter(int(chance(request_id) * 4) for request_id in IDS)
    assert set(parts) == {0, 1, 2, 3}
    assert all(700 < count < 1300 for count in parts.values())  # 1000 each: ten times the deviation
    assert chance("") == 0.0
    assert chance("a control character \n") < 1.0
