"""受付番号 and token buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.gate.limits import Buckets, Rate
from gateway.gate.reference import ALPHABET, new_reference, parse_reference, reference_time, shown

WALLS = st.floats(0, 3e10, allow_nan=False)


@given(WALLS)
def test_a_reference_survives_how_people_write_it(wall: float) -> None:
    reference = new_reference(wall)

    assert len(reference) == 16
    assert set(reference) <= set(ALPHABET)
    assert reference_time(reference) == int(wall * 1000) / 1000
    typed = shown(reference)
    for variant in (typed, typed.lower(), typed.replace("0", "O").replace("1", "l"), typed.replace("-", ""),
                    f" {typed.replace('-', ' ')} ", typed.replace("1", "i")):  # fmt: skip
        assert parse_reference(variant) == reference


@pytest.mark.parametrize("text", ["", "1M32-50V3-V9A9-YSQ", "1M32-50V3-V9A9-YSQU", "1M32-50V3-V9A9-YSQG-1", "あ" * 16])
def test_what_is_no_reference_is_told_so(text: str) -> None:
    with pytest.raises(ValueError, match="16 letters"):
        parse_reference(text)


def test_references_sort_by_time_and_do_not_repeat() -> None:
    made = [new_reference(1_790_000_000 + step / 1000) for step in range(2000)]
    assert made == sorted(made)
    assert len({new_reference(1.0) for _ in range(2000)}) == 2000


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    buckets = Buckets(Rate(per_second=2, burst=3), 10)
    assert [buckets.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 1]
    assert buckets.take("b", 100.0) == 0
    assert buckets.take("a", 100.5) == 0
    assert buckets.take("a", 100.5) == 1
    assert [buckets.take("a", 200.0) for _ in range(4)] == [0, 0, 0, 1]


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=200), st.integers(1, 5))
def test_nobody_passes_more_often_than_the_rate(gaps: list[float], burst: int) -> None:
    buckets = Buckets(Rate(per_second=10, burst=burst), 10)
    now, passed = 50.0, 0
    for gap in gaps:
        now += gap
        passed += buckets.take("a", now) == 0
    assert passed <= burst + (now - 50.0) * 10 + 1e-6


def test_the_table_never_grows_and_forgets_the_full_first() -> None:
    buckets = Buckets(Rate(per_second=1, burst=1), 100)
    assert buckets.take("busy", 1000.9) == 0
    for number in range(500):
        buckets.take(f"n{number}", 1000.0)
        assert len(buckets) <= 100
    slow = Buckets(Rate(per_second=1, burst=1), 4)
    for name in "abcd":
        slow.take(name, 0.0)
    slow.take("d", 1.0)
    slow.take("e", 1.5)
    assert slow.take("d", 1.5) == 1


@pytest.mark.parametrize("rate", [Rate(0, 1), Rate(1, 0), Rate(-1, 5)])
def test_a_rate_that_lets_nobody_pass_is_refused(rate: Rate) -> None:
    with pytest.raises(ValueError, match="rate above 0"):
        Buckets(rate, 10)
