"""Reading, comparing and storing: the last good answer stays, and what disappears is no longer managed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.posture.graph_device import device_of
from gateway.posture.source import Reading, SourceFault, SourceUnavailable
from gateway.posture.sync import PostureSync, SyncPlan, SyncPorts, next_delay, plan
from gateway.state.records import Device

NOW = 1_790_000_000.0


def device(name: str, now: float = NOW, uuid: str = "", **facts: object) -> Device:
    entry = {"id": name, "azureADDeviceId": uuid or name, "deviceName": name, "complianceState": "compliant", **facts}
    return device_of(entry, now)


def test_new_device_is_a_change_and_an_unchanged_one_only_gets_younger() -> None:
    old = device("a", NOW - 60)

    made = plan([old], Reading((device("a"), device("b")), NOW, 0), "graph")

    assert [row.read_at for row in made.devices] == [NOW, NOW]
    assert [(change.before, change.after.name) for change in made.changed] == [(None, "b")]


def test_changed_facts_are_named() -> None:
    made = plan([device("a")], Reading((device("a", complianceState="noncompliant"),), NOW, 0), "graph")

    assert made.changed[0].facts == ("compliant", "failing")


def test_device_that_disappears_is_not_managed_and_nothing_good_is_known_of_it() -> None:
    made = plan([device("a"), device("b")], Reading((device("a"),), NOW + 60, 0), "graph")

    gone = made.devices[-1]
    assert (gone.name, gone.managed, gone.compliant, gone.in_grace) == ("b", False, None, None)
    assert [change.after.name for change in made.changed] == ["b"]


def test_revoked_certificates_survive_a_reading() -> None:
    old = replace(device("a"), revoked_serials=("ab",))

    assert plan([old], Reading((device("a"),), NOW, 0), "graph").devices[0].revoked_serials == ("ab",)


def test_a_device_enrolled_anew_keeps_its_name_and_its_revoked_certificates() -> None:
    old = replace(device("a", uuid="one"), revoked_serials=("ab",))

    made = plan([old], Reading((device("b", uuid="one"),), NOW, 0), "graph")

    assert [(row.id, row.name, row.revoked_serials) for row in made.devices] == [(old.id, "b", ("ab",))]


def test_of_two_entries_of_one_device_the_one_heard_from_last_counts() -> None:
    stale = device("old", uuid="one", lastSyncDateTime="2026-01-01T00:00:00Z", complianceState="noncompliant")
    fresh = device("new", uuid="one", lastSyncDateTime="2026-09-01T00:00:00Z")

    for order in ((stale, fresh), (fresh, stale)):
        assert [row.name for row in plan([], Reading(order, NOW, 0), "graph").devices] == ["new"]


def test_a_device_registered_by_hand_passes_to_the_mdm() -> None:
    by_hand = replace(device("a"), id="hand:a", source="hand", managed=False, compliant=None, revoked_serials=("ab",))

    (row,) = plan([by_hand], Reading((device("a"),), NOW, 0), "graph").devices

    assert (row.id, row.source, row.compliant, row.revoked_serials) == ("hand:a", "graph", True, ("ab",))


def test_devices_of_another_source_are_left_alone() -> None:
    other = replace(device("z"), source="fleet")

    assert plan([other], Reading((device("a"),), NOW, 0), "graph").devices == (device("a"),)


@pytest.mark.parametrize(
    ("failures", "retry_after", "delay"),
    [(0, None, 60.0), (1, None, 5.0), (2, None, 10.0), (1, 40.0, 40.0), (20, None, 300.0), (20, 900.0, 900.0)],
)
def test_delays(failures: int, retry_after: float | None, delay: float) -> None:
    assert next_delay(60.0, failures, retry_after) == delay


class Scripted:
    """A source that answers from a list."""

    name = "graph"

    def __init__(self, answers: list[Reading | SourceUnavailable]) -> None:
        self.answers = answers

    async def read(self, now: float) -> Reading:
        answer = self.answers.pop(0)
        if isinstance(answer, SourceUnavailable):
            raise answer
        return replace(answer, read_at=now)


def test_a_fault_of_ours_does_not_end_the_loop() -> None:
    told: list[str] = []

    async def apply(_made: SyncPlan) -> None:
        raise ZeroDivisionError

    async def failed(fault: SourceUnavailable, count: int) -> None:
        told.append(f"{fault.fault.value} {count}")

    async def recovered(count: int) -> None:
        told.append(f"recovered {count}")

    async def main() -> None:
        source = Scripted([Reading((device("a"),), NOW, 0)])
        sync = PostureSync(source, SyncPorts(tuple, apply, failed, recovered, lambda: NOW), 60.0)
        await sync.once()
        assert (sync.failures, sync.last_good) == (1, None)

    asyncio.run(main())
    assert told == ["internal 1"]


def test_hurry_reads_at_once_but_not_before_the_service_wants() -> None:
    async def apply(_made: SyncPlan) -> None:
        return

    async def failed(_fault: SourceUnavailable, _count: int) -> None:
        return

    async def recovered(_count: int) -> None:
        return

    async def main() -> None:
        good = Reading((device("a"),), NOW, 0)
        source = Scripted([good, good, SourceUnavailable(SourceFault.THROTTLED, "x", 700.0)])
        sync = PostureSync(source, SyncPorts(tuple, apply, failed, recovered, lambda: NOW), 600.0)
        running = asyncio.create_task(sync.run())
        assert await sync.round_over(5)
        assert sync.hurry()
        assert await sync.round_over(5)
        assert sync.hurry()
        assert await sync.round_over(5)
        await asyncio.sleep(0)
        assert not sync.hurry()
        assert not await sync.round_over(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert source.answers == []

    asyncio.run(main())


def test_fault_keeps_the_last_answer_and_recovery_is_told() -> None:
    applied: list[SyncPlan] = []
    told: list[str] = []

    async def apply(made: SyncPlan) -> None:
        applied.append(made)

    async def failed(fault: SourceUnavailable, count: int) -> None:
        told.append(f"{fault.fault.value} {count}")

    async def recovered(count: int) -> None:
        told.append(f"recovered {count}")

    def known() -> tuple[Device, ...]:
        return applied[-1].devices if applied else ()

    good = Reading((device("a"),), NOW, 0)
    bad = SourceUnavailable(SourceFault.THROTTLED, "x", 7.0)
    source = Scripted([good, bad, bad, good])

    async def main() -> None:
        sync = PostureSync(source, SyncPorts(known, apply, failed, recovered, lambda: NOW), 60.0)
        assert await sync.once() is None
        assert await sync.once() == 7.0
        assert await sync.once() == 7.0
        assert (sync.failures, sync.last_good) == (2, NOW)
        assert await sync.once() is None
        assert sync.failures == 0

    asyncio.run(main())
    assert told == ["throttled 1", "throttled 2", "recovered 2"]
    assert len(applied) == 2
