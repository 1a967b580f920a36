"""What one person gets over all workers together, a minute in virtual time: however the requests are spread."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.gate.leased import LeasedBuckets
from gateway.gate.limits import Buckets, Rate
from gateway.settings import Settings, SettingsFaults
from tests.support.virtual_workers import VirtualWorkers

MINUTE = 60.0
DEFAULT = Rate(100, 300)  # limits.session_rate


def hopping(
    workers: int, per_second: float, hold: float, seed: int = 1, seconds: float = MINUTE
) -> Iterator[tuple[float, int]]:
    """Requests `per_second`, all at one worker for `hold` seconds, then at another; 0 = each at another."""
    draw, worker, until = random.Random(seed), 0, 0.0  # noqa: S311  # the same spread in every run
    for number in range(int(seconds * per_second)):
        at = (number + draw.random()) / per_second
        if at >= until:
            worker, until = draw.randrange(workers), at + hold
        yield at, worker


def bounds(rate: Rate, asked: int) -> tuple[float, float]:
    """What the promise allows: from three to five quarters of a minute's requests."""
    full = rate.per_second * MINUTE + rate.burst
    return 0.75 * min(asked, full), 1.25 * full


@pytest.mark.promise("P1.rates-hold-over-workers")
@settings(max_examples=40, deadline=None)
@given(
    workers=st.integers(1, 8),
    per_second=st.floats(0.5, 40),
    burst=st.integers(2, 400),
    times=st.floats(1.2, 6),
    hold=st.sampled_from([0.0, 0.02, 0.1, 0.13, 0.5, 1.0, 7.0, MINUTE]),
    latency=st.sampled_from([0.0002, 0.002, 0.03]),
    seed=st.integers(0, 999),
)
def test_a_minute_gives_the_rate_however_requests_are_spread(
    workers: int, per_second: float, burst: int, times: float, hold: float, latency: float, seed: int
) -> None:
    rate = Rate(per_second, max(burst, 4 * workers, 8 * workers - per_second * MINUTE))
    asked = list(hopping(workers, per_second * times, hold, seed))
    passed = VirtualWorkers(workers, rate, latency).passed(asked)
    least, most = bounds(rate, len(asked))
    if times < 3:  # with a small burst one bucket would not give the whole rate either: it is full now and then
        least = 0.75 * VirtualWorkers(1, rate).passed((at, 0) for at, _ in asked)
    assert least <= passed <= most


@pytest.mark.promise("P1.rates-hold-over-workers")
@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("rate", [DEFAULT, Rate(1, 300), Rate(20, 16), Rate(100, 8)], ids=str)
def test_rests_and_rushes_on_all_workers_at_once_stay_within_it(workers: int, rate: Rate) -> None:
    """Rush at every worker in the same millisecond, rest until the burst is partly back, rush again."""
    machine = VirtualWorkers(workers, rate)
    rush = max(2, int(rate.burst))
    asked = [
        (start + number * 0.0001, worker)
        for start in (0.0, 0.05, 3.0, 10.0, 10.11, 25.0, 59.0)
        for number in range(rush)
        for worker in range(workers)
    ]
    assert machine.passed(asked) <= bounds(rate, len(asked))[1]


@pytest.mark.promise("P1.rates-hold-over-workers")
@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("hot", [False, True], ids=["not-shared-out", "shared-out"])
@pytest.mark.parametrize("rate", [DEFAULT, Rate(1, 60), Rate(5, 300)], ids=str)
@pytest.mark.parametrize("when", [1.0, 58.0])
def test_fresh_workers_bring_nobody_more_than_the_rate(
    when: float, rate: Rate, workers: int, *, hot: bool, gone: bool
) -> None:
    """A reload somewhere in a minute: each new worker has a whole part of what the steward knows nothing of.

    Until then all that is had is taken (`hot`), or so much that the steward never hears of it. The former workers
    drain, or end at once, and what they let pass is forgotten where it was not shared out. Each new one is asked for a
    whole burst as soon as it serves, as fast as one can.
    """
    machine = VirtualWorkers(workers, rate)
    begun = machine.clock.now
    rush, times = (3 * rate.burst, 2.0) if hot else (0.4 * rate.burst, 0.95)
    passed = machine.passed((number * 0.0001, number % workers) for number in range(int(rush)))
    each = 1 / (rate.per_second * times)
    passed += machine.passed((number * each, number % workers) for number in range(1, int(when / each)))
    assert bool(len(machine.leases)) is hot
    for number in range(workers):
        machine.replace(number, gone=gone)
        passed += machine.passed((0.0002 * asked, number) for asked in range(int(rate.burst)))
    rest = MINUTE - (machine.clock.now - begun)
    passed += machine.passed(hopping(workers, 3 * rate.per_second, 0.0, seconds=rest))
    assert passed <= bounds(rate, 0)[1]


@pytest.mark.promise("P1.rates-hold-over-workers")
@pytest.mark.parametrize("workers", [2, 3, 8])
def test_the_burst_is_not_multiplied(workers: int) -> None:
    machine = VirtualWorkers(workers, DEFAULT)
    passed = machine.passed((number * 0.0001, number % workers) for number in range(2000))
    assert 0.9 * 300 <= passed <= 1.25 * (300 + 0.2 * 100)


def test_a_person_on_one_worker_soon_gets_all_of_it() -> None:
    machine = VirtualWorkers(8, Rate(1, 300))
    passed = machine.passed((number * 0.001, 3) for number in range(2000))
    assert 0.95 * 300 <= passed <= 303


def test_a_page_of_sixty_parts_passes_over_two_workers_without_a_word() -> None:
    machine = VirtualWorkers(2, DEFAULT)
    assert machine.passed((number * 0.002, number % 6 % 2) for number in range(60)) == 60
    assert machine.frames == 0


def test_two_pages_at_once_pass_over_eight_workers() -> None:
    machine = VirtualWorkers(8, DEFAULT)
    assert machine.passed((number * 0.004, number % 6 % 8) for number in range(120)) == 120


def test_a_bound_name_is_told_when_to_come_again() -> None:
    machine = VirtualWorkers(2, Rate(0.25, 20))
    waits = [machine.ask(number % 2, machine.clock.now + 0.01) for number in range(400)]
    assert set(waits) >= {0, 4}
    assert max(waits) <= 2 * 8 + 4  # no more is over than one request for each worker


def test_what_nobody_asks_for_any_more_is_told_off_and_silence_returns() -> None:
    machine = VirtualWorkers(2, DEFAULT)
    machine.passed(hopping(2, 300, 0.0, seconds=3.0))
    assert len(machine.leases) == 1
    machine.clock.run_until(machine.clock.now + 10)
    assert (len(machine.leases), [each.held for each in machine.leasing.values()]) == (0, [0, 0])
    said = machine.frames
    machine.clock.run_until(machine.clock.now + 60)
    assert machine.frames == said
    assert machine.passed((number * 0.0005, number % 2) for number in range(290)) == 290


@pytest.mark.promise("P1.rates-hold-without-steward")
def test_a_silent_steward_leaves_each_worker_its_part() -> None:
    rate = Rate(20, 40)
    machine = VirtualWorkers(4, rate)
    machine.passed(hopping(4, 100, 0.0, seconds=5.0))
    machine.stop_steward()
    passed = machine.passed(hopping(4, 200, 0.0))
    assert 0.75 * 20 * MINUTE <= passed <= bounds(rate, 12_000)[1]
    assert machine.passed(hopping(1, 200, MINUTE)) == pytest.approx(5 * MINUTE + 10, abs=12)  # one worker has its part
    machine.resume_steward()
    assert machine.passed(hopping(1, 200, MINUTE)) == pytest.approx(20 * MINUTE, rel=0.1)


@pytest.mark.promise("P1.rates-hold-without-steward")
def test_a_killed_steward_leaves_each_worker_its_part_and_a_new_one_shares_again() -> None:
    rate = Rate(20, 40)
    machine = VirtualWorkers(2, rate)
    passed = machine.passed(hopping(2, 100, 0.0, seconds=15.0))
    for key in machine.leasing:
        machine.disconnect(key)
    passed += machine.passed(hopping(2, 100, 0.0, seconds=15.0))
    alone = machine.passed(hopping(1, 100, 0.0, seconds=15.0))
    assert alone == pytest.approx(10 * 15, abs=10)
    machine.start_steward()
    for key in machine.leasing:
        machine.connect(key)
    back = machine.passed(hopping(1, 100, 0.0, seconds=15.0))
    assert back == pytest.approx(20 * 15, rel=0.2)
    least, most = bounds(rate, 6000)
    assert least - 150 <= passed + alone + back <= most  # 150: what one worker alone was denied


def test_a_worker_cut_off_keeps_its_part_and_the_others_leave_it_to_it() -> None:
    rate = Rate(20, 40)
    machine = VirtualWorkers(4, rate)
    machine.passed(hopping(4, 100, 0.0, seconds=10.0))
    machine.disconnect(("worker-3", 103))
    passed = machine.passed(hopping(4, 200, 0.0))
    least, most = bounds(rate, 12_000)
    assert least <= passed <= most


def test_names_beyond_the_book_stay_at_the_parts() -> None:
    machine = VirtualWorkers(2, Rate(10, 20), capacity=5)
    for number in range(40):
        for _ in range(15):
            machine.ask(0, machine.clock.now, f"s{number}")
    machine.clock.run_until(machine.clock.now + 0.5)
    assert len(machine.leases) == 5
    last = [machine.ask(0, machine.clock.now + 0.001, "s39") for _ in range(100)]
    assert last.count(0) <= 12  # its part: what was left of 10, and 5 a second


def test_a_flood_of_names_grows_no_table() -> None:
    buckets = LeasedBuckets(Rate(2, 4), 2, 500)
    for number in range(20_000):
        for _ in range(4):
            buckets.take(f"n{number}", 1.0)
        assert len(buckets) <= 500
    assert len(buckets.report(10_000, 1.0)) <= 1024


def test_the_table_forgets_no_name_that_is_shared_out() -> None:
    buckets = LeasedBuckets(Rate(2, 20), 2, 50)
    buckets.take("shared", 1.0)
    buckets.give("shared", 1.0, 3.2, 1.0)
    for number in range(500):
        buckets.take(f"n{number}", 1.0)
    assert buckets.take("shared", 1.0) == 4


def test_alone_on_the_machine_a_worker_shares_nothing() -> None:
    alone = Rate(5, 10)
    buckets, shared = Buckets(alone, 10), VirtualWorkers(1, alone)
    times = [number * 0.05 for number in range(200)]
    assert [shared.buckets[0].take("s1", at) for at in times] == [buckets.take("s1", at) for at in times]


@pytest.mark.parametrize(("workers", "good"), [(1, True), (4, True), (5, False), (64, False)])
def test_a_rate_too_small_for_the_workers_is_refused(workers: int, good: bool) -> None:
    text = f"""
        portal = {{ host = "p.example.jp", rp_id = "example.jp", organisation = "見本市", help_contact = "内線 1" }}
        listeners.loopback.address = "127.0.0.1:0"
        workers.count = {workers}
        limits.user_rate = {{ per_second = 0.5, burst = 4 }}
    """
    if good:
        assert Settings.parse(text, Path("sekisho.toml")).workers.count == workers
        return
    with pytest.raises(SettingsFaults, match=rf"limits\.user_rate .* 8 × workers\.count = {8 * workers}"):
        Settings.parse(text, Path("sekisho.toml"))
