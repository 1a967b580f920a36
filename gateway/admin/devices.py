"""Commands about devices: what the MDM told of them, with the age of what was told."""

from __future__ import annotations

from typing import Any, Literal

from gateway.admin.endpoint import Arguments, Call, Listing, Reply, listed
from gateway.admin.problem import not_found
from gateway.state.records import Device


class DeviceListing(Listing):
    """Filters of `devices ls`."""

    owner: str = ""
    state: Literal["", "compliant", "noncompliant", "unknown"] = ""


class OneDevice(Arguments):
    """A device by id, certificate name or device name."""

    device: str


async def ls(call: Call[DeviceListing]) -> Reply:
    """Devices, by name."""
    wanted = call.arguments
    devices = sorted(call.context.reader.devices(), key=lambda device: (device.name, device.id))
    rows = [device_row(device, call.now) for device in devices]
    if wanted.owner:
        rows = [row for row in rows if row["owner"] == wanted.owner]
    if wanted.state:
        rows = [row for row in rows if row["state"] == wanted.state]
    return listed(rows, wanted.limit)


async def show(call: Call[OneDevice]) -> Reply:
    """One device with the number of sessions that showed its certificate."""
    name = call.arguments.device
    for device in call.context.reader.devices():
        if name in (device.id, device.uuid, device.name):
            sessions = [s.id for s in call.context.reader.sessions(active=True) if s.device_id == device.id]
            return Reply({**device_row(device, call.now), "sessions": sessions}, rows=1)
    raise not_found("端末", name)


def device_row(device: Device, now: float) -> dict[str, Any]:
    """A device as the API tells of it; ages in seconds, None where it was never told."""
    state = {True: "compliant", False: "noncompliant", None: "unknown"}[device.compliant]
    return {
        **device.to_row(),
        "state": state,
        "read_age": None if device.read_at is None else max(0.0, now - device.read_at),
        "seen_age": None if device.seen_at is None else max(0.0, now - device.seen_at),
    }
