"""Devices in the store: a reading replaces facts, never a revocation, and costs little where only ages change."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from audit.event import check
from gateway.state.command import CommandRefused
from gateway.state.records import Device
from tests.unit.state.conftest import NOW, World

DEVICE = Device(
    "graph:u", "u", "PC1", "graph", "s0001", "Windows", "10", True, True, False, True, False, (), None, NOW, NOW, ()
)


def test_a_revoked_certificate_stays_revoked_over_a_reading_that_had_not_heard_of_it(world: World) -> None:
    world.run("devices.put", devices=[DEVICE.to_row()])
    done = world.run("certificate.revoke", id="graph:u", serial="ab12", by="ciso", reason="紛失")
    world.run("devices.put", devices=[replace(DEVICE, read_at=NOW + 60).to_row()])

    (device,) = world.reader.devices()
    assert (device.revoked_serials, device.read_at) == (("ab12",), NOW + 60)
    assert done.draft is not None
    assert done.draft.targets == ("device:graph:u", "certificate:ab12")
    assert [(record["event.action"], check(record)) for record in done.records] == [("certificate.revoked", [])]


@pytest.mark.parametrize("serial", ["", "0ab", "AB", "ab:cd", "x", "a" * 41])
def test_serials_have_one_spelling(world: World, serial: str) -> None:
    world.run("devices.put", devices=[DEVICE.to_row()])

    with pytest.raises(CommandRefused, match="bad_arguments"):
        world.run("certificate.revoke", id="graph:u", serial=serial, by="ciso", reason="紛失")


def test_no_such_device(world: World) -> None:
    with pytest.raises(CommandRefused, match="unknown_device"):
        world.run("certificate.revoke", id="graph:x", serial="ab", by="ciso", reason="紛失")


def test_equal_rows_write_nothing(world: World) -> None:
    world.run("devices.put", devices=[DEVICE.to_row()])
    revision = world.store.revision

    world.run("devices.put", devices=[DEVICE.to_row()])

    assert world.store.revision == revision


def test_two_thousand_devices_that_only_grew_older_are_written_quickly(world: World) -> None:
    devices = [replace(DEVICE, id=f"graph:{n}", uuid=str(n), name=f"PC{n}") for n in range(2000)]
    for start in range(0, 2000, 250):
        world.run("devices.put", devices=[device.to_row() for device in devices[start : start + 250]])

    begun = time.process_time()
    for start in range(0, 2000, 250):
        rows = [replace(device, read_at=NOW + 60).to_row() for device in devices[start : start + 250]]
        world.run("devices.put", devices=rows)
    spent = time.process_time() - begun

    print(f"2,000 rows: {spent * 1000:.0f} ms of CPU in 8 commands")  # noqa: T201
    assert {device.read_at for device in world.reader.devices()} == {NOW + 60}
    assert spent < 10
