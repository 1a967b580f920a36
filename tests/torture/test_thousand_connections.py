"""Promise P3 in full: a thousand live connections of four kinds end, whatever names them and however busy it is.

Every selector × idle and saturated × clients that all keep up, and some that read slowly, one of them never. Times
count from the moment that the receipt calls durable to the last byte that each client which reads at once received.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.crowd import Crowd, streaming_city
from benchmarks.revocation import SELECTORS, Case, Figures, measure
from tests.support.cut_records import CutRecords

CONNECTIONS = 1000
SLEEPY = 101
PROMISED = {False: 100.0, True: 300.0}  # milliseconds at the 99th percentile: idle, saturated
ROUNDS = 3  # of a case that was late: somebody else may have had the machine; counts have to agree in each
DISCARDED = 256 * 1024  # bytes that a client with default buffers may still find
SETTINGS = {
    "SEKISHO_SESSIONS__CONCURRENT": "20",  # one person has the thousand connections, too
    "SEKISHO_JOURNAL__SEGMENT_BYTES": str(2**32),
    **{
        f"SEKISHO_LIMITS__{whose}_RATE__{what}": "1000000"  # the load is to be served, not refused
        for whose in ("USER", "SESSION", "ADDRESS")
        for what in ("PER_SECOND", "BURST")
    },
}


async def cell(crowd: Crowd, case: Case, name: str) -> Figures:
    """One way to revoke: what clients saw, what the receipt says and what the journals keep are the same."""
    records = CutRecords(crowd.city.root / "journal")
    seen = await measure(crowd, case, name)
    assert seen.fenced == ()
    assert seen.cut == seen.told == seen.connections > CONNECTIONS - 20
    assert len(seen.by_worker) == 2
    assert set(seen.by_kind) == {"socket", "events", "download", "upload"}
    assert seen.survivors == seen.strangers
    assert all(found is not None and found <= DISCARDED for found in seen.left)
    await records.agree_with(seen)
    return seen


def sentence(case: Case, seen: Figures) -> str:
    """One figure of the table."""
    how = "saturated" if case.busy else "idle"
    left = f"; slow readers found at most {max(each or 0 for each in seen.left) / 1024:.0f} KiB" if seen.left else ""
    return (
        f"by {case.selector}, {how}, {case.sleepy} slow: {seen.cut} cut ({seen.by_worker}); last byte "
        f"p50 {seen.p50:.0f}, p99 {seen.p99:.0f}, largest {seen.largest:.0f} ms; "
        f"answered after {seen.answered:.0f} ms{left}"
    )


@pytest.mark.timeout(1800)
@pytest.mark.one_stack
@pytest.mark.promise("P3.thousand-connections-of-four-kinds")
def test_a_thousand_connections_end_in_time_whatever_names_them(
    figure: Callable[[str], None], requires_wrk: Path
) -> None:
    del requires_wrk
    late: list[str] = []

    async def run(folder: Path) -> None:
        cases = [
            Case(selector, CONNECTIONS, sleepy, busy)
            for selector in SELECTORS
            for busy in (False, True)
            for sleepy in (0, SLEEPY)
        ]
        async with streaming_city(folder, **SETTINGS) as crowd:
            for number, case in enumerate(cases):
                for again in range(ROUNDS):
                    seen = await cell(crowd, case, f"leaving-{number}-{again}")
                    figure(sentence(case, seen))
                    if seen.p99 <= PROMISED[case.busy]:
                        break
                else:
                    late.append(sentence(case, seen))

    with tempfile.TemporaryDirectory() as name:  # gigabytes of records that nobody has to look at afterwards
        asyncio.run(run(Path(name)))
    assert not late, "\n".join(late)
