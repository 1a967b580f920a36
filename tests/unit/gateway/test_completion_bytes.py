"""A completion's bytes are those of its record, however it ended: the template of the usual case says the same."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from orjson import dumps

from gateway.completion import completion_bytes, completion_record, milliseconds
from gateway.edge.services import Outcome

SIZES = st.integers(0, 2**53)
TIMES = st.floats(0, 1e8)
WHOLE = Outcome(200, "", False, 0, 978, 0.0125, 0.0119)


@given(
    st.builds(
        Outcome, st.sampled_from([0, 101, 200, 304, 502, 599]), st.sampled_from(["", "client_gone"]), st.booleans(),
        SIZES, SIZES, TIMES, st.none() | TIMES, st.sampled_from(["", 'connection "ended"']), st.booleans(),
    ),
    st.floats(0, 4e9),
)  # fmt: skip
@example(WHOLE, 1790000000.012)
@example(Outcome(200, "", False, 0, 0, 1e8, 0.0012345), 0.0)
@example(Outcome(200, "", False, 0, 0, 0.0, 0.0), 0.0)
def test_the_bytes_are_the_records(outcome: Outcome, wall: float) -> None:
    assert completion_bytes("1M3250V3V9A9YSQ1", outcome, wall) == dumps(
        completion_record("1M3250V3V9A9YSQ1", outcome, wall)
    )


@given(st.integers(0, 10**11))
def test_a_time_is_told_to_the_microsecond(microseconds: int) -> None:
    assert milliseconds(microseconds / 1e6) == round(microseconds / 1e3, 3)
