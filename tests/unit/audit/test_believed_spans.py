"""Times that a wrong clock wrote: no record goes before its time because of them, and none stays for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audit.keeping.spans import Span, believed
from audit.segment import Link

NOW = 1_800_000_000.0
HOUR = 3600.0
LINK = Link(1, 1, b"")
WRONG = st.sampled_from([0.0, 1_000_000_000.0, NOW + 1000 * HOUR, NOW + 1e9])


def right(count: int) -> list[Span]:
    """Segments of an hour each, the last of which has just ended."""
    return [Span(LINK, NOW - at * HOUR, NOW - (at - 1) * HOUR) for at in range(count, 0, -1)]


@given(wrong=st.lists(st.one_of(st.none(), WRONG), min_size=1, max_size=12))
def test_a_wrong_time_lies_between_the_right_ones_around_it(wrong: list[float | None]) -> None:
    true = [*right(len(wrong) + 1)]
    written = [
        span if lie is None else Span(LINK, lie, lie + HOUR) for span, lie in zip(true, [*wrong, None], strict=True)
    ]
    for known, span, lie in zip(believed(written, NOW), true, [*wrong, None], strict=True):
        assert known.last_at >= span.last_at  # never deleted too early
        assert known.last_at <= NOW  # nor kept for ever
        if lie is None:
            assert known == span


def test_a_clock_that_ran_behind_for_a_while_is_seen_by_what_stands_before_it() -> None:
    before, behind, after = right(3)
    slow = Span(LINK, behind.first_at - 90 * 24 * HOUR, behind.last_at - 90 * 24 * HOUR)
    assert believed([before, slow, after], NOW)[1] == Span(LINK, before.last_at, after.first_at)
    assert believed([before, slow], NOW)[1] == Span(LINK, before.last_at, before.last_at)


def test_what_nothing_speaks_against_is_believed() -> None:
    assert believed([], NOW) == []
    assert believed(right(4), NOW) == right(4)
    alone = Span(LINK, 0.0, HOUR)
    assert believed([alone], NOW) == [Span(LINK, NOW, NOW)]  # kept until there is something to compare it with
    idle = [right(1)[0]._replace(first_at=NOW - 9000 * HOUR, last_at=NOW - 8999 * HOUR), *right(1)]
    assert believed(idle, NOW) == idle  # a writer that wrote nothing for a year
