"""Commands about devices: what the MDM told of them and when; devices without an MDM; the end of a certificate."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from audit.event import Action, event
from gateway.admin.certificate_numbers import Serial
from gateway.admin.endpoint import Arguments, Call, Change, Listing, Reply, listed
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.admin.revocation_lists import authority_of
from gateway.state.records import Device

BY_HAND = "hand"  # source of devices that no MDM tells of
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text)) if text else ""
    except ValueError:
        raise ValueError("UUID を指定してください (RFC 9562)。") from None


class DeviceListing(Listing):
    """Filters of `devices ls`."""

    owner: str = ""
    state: Literal["", "compliant", "in_grace", "noncompliant", "unknown"] = ""


class OneDevice(Arguments):
    """A device by id, certificate name or device name."""

    device: str


class AddDevice(Change):
    """A device that no MDM tells of. Without `uuid` one is chosen."""

    name: Annotated[Text, Field(min_length=1)]
    uuid: Annotated[str, AfterValidator(_uuid)] = ""
    owner: Text = ""
    os: Text = ""


class RevokeCertificate(Change):
    """A certificate of a device by its serial number, and by its issuer where several authorities are trusted."""

    device: str
    serial: Serial
    issuer: str = ""


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
    device = device_named(call, call.arguments.device)
    sessions = [s.id for s in call.context.reader.sessions(active=True) if s.device_id == device.id]
    return Reply({**device_row(device, call.now), "sessions": sessions}, rows=1)


async def add(call: Call[AddDevice]) -> Reply:
    """Register a device by hand: known and named, but of its state nothing is known, so nothing counts as good."""
    given = call.arguments
    device = Device(
        id=f"{BY_HAND}:{given.uuid}", uuid=given.uuid, name=given.name, source=BY_HAND, owner=given.owner.lower(),
        os=given.os, os_version="", managed=False, compliant=None, in_grace=None, encrypted=None, jailbroken=None,
        failing=(), patched_at=None, seen_at=None, read_at=None, revoked_serials=(),
    )  # fmt: skip
    if given.uuid and call.context.reader.device_by_uuid(given.uuid) is not None:
        raise Problem(AdminReason.CONFLICT, f"UUID {given.uuid} の端末は登録されています。")
    if given.dry_run:
        return Reply({"plan": [device_row(device, call.now)], "hit": 1}, rows=1)
    if not given.uuid:
        chosen = str(uuid.uuid4())
        row = {**device.to_row(), "id": f"{BY_HAND}:{chosen}", "uuid": chosen}
        device = Device.from_row(row)
    fields = {
        "device.id": device.id, "sekisho.device.uuid": device.uuid, "sekisho.device.name": device.name,
        "sekisho.device.managed": False, "sekisho.posture.source": BY_HAND, "sekisho.by": call.by,
        "sekisho.device.changes": {"owner": [None, device.owner], "managed": [None, False]},
        "sekisho.justification": given.reason,
    }  # fmt: skip
    await call.context.journal.record(event(Action.DEVICE_CHANGED, call.now, fields))
    await call.context.steward.call("devices.put", devices=[device.to_row()])
    return Reply({"device": device_row(device, call.now)}, rows=1)


async def revoke_certificate(call: Call[RevokeCertificate]) -> Reply:
    """End what one certificate is worth, from now on; live connections that showed it are reset."""
    given = call.arguments
    device, authority = device_named(call, given.device), await authority_of(call, given.issuer)
    if given.dry_run:
        plan = {"device": device.name, "owner": device.owner, "serial": given.serial}
        return Reply({"plan": [plan], "hit": 1}, rows=1)
    done = await call.context.steward.call(
        "certificate.revoke", id=device.id, serial=given.serial, authority=authority, by=call.by, reason=given.reason
    )
    return Reply({"device": device.id, "serial": given.serial, "receipt": done["receipt"]}, rows=1)


def device_named(call: Call[Any], name: str) -> Device:
    """The device with this id, certificate name or device name; raises Problem unless there is exactly one."""
    devices = call.context.reader.devices()
    exact = [device for device in devices if name in (device.id, device.uuid)]
    found = exact or [device for device in devices if device.name == name]
    if not found:
        raise not_found("端末", name)
    if len(found) > 1:
        ids = "、".join(device.id for device in found)
        raise Problem(AdminReason.CONFLICT, f"{name} という名前の端末は {len(found)} 台あります。ID で指定: {ids}")
    return found[0]


def device_row(device: Device, now: float) -> dict[str, Any]:
    """A device as the API tells of it; ages in seconds, None where it was never told."""
    state = {True: "compliant", False: "noncompliant", None: "unknown"}[device.compliant]
    return {
        **device.to_row(),
        "state": "in_grace" if device.in_grace else state,
        "read_age": None if device.read_at is None else max(0.0, now - device.read_at),
        "seen_age": None if device.seen_at is None else max(0.0, now - device.seen_at),
    }
