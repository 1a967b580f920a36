"""The wire of Microsoft Graph v1.0 as far as device posture goes: values to JSON, no sockets.

Source: Microsoft Graph REST reference, resource `managedDevice` (v1.0) and "Microsoft Graph error responses".
`jailBroken` is a string there, `0001-01-01T00:00:00Z` stands for "never", and `deviceHealthAttestationState` is null
unless `$select` names it.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

from mdm_sim.world import NEVER, SimDevice

DEFAULT_PAGE = 100
MAXIMUM_PAGE = 1000

PROPERTIES = (
    "id",
    "userId",
    "deviceName",
    "managedDeviceOwnerType",
    "enrolledDateTime",
    "lastSyncDateTime",
    "operatingSystem",
    "complianceState",
    "jailBroken",
    "managementAgent",
    "osVersion",
    "azureADRegistered",
    "azureADDeviceId",
    "deviceRegistrationState",
    "isSupervised",
    "isEncrypted",
    "userPrincipalName",
    "serialNumber",
    "androidSecurityPatchLevel",
    "complianceGracePeriodExpirationDateTime",
    "partnerReportedThreatState",
    "deviceHealthAttestationState",
)


class QueryError(Exception):
    """A query option that the service refuses (HTTP 400, code `BadRequest`)."""


def date(value: float) -> str:
    """Write a time as Graph does; `NEVER` becomes year one."""
    if value == NEVER:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def managed_device(device: SimDevice, now: float, selected: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the `managedDevice` resource at `now`, with only `selected` properties where any are named."""
    attested = "deviceHealthAttestationState" in selected
    full: dict[str, Any] = {
        "id": device.id,
        "userId": "",
        "deviceName": device.name,
        "managedDeviceOwnerType": device.owner_type,
        "enrolledDateTime": date(device.enrolled_at),
        "lastSyncDateTime": date(device.last_sync(now)),
        "operatingSystem": device.os,
        "complianceState": device.compliance(now),
        "jailBroken": device.jailbroken,
        "managementAgent": "mdm",
        "osVersion": device.os_version,
        "azureADRegistered": True,
        "azureADDeviceId": device.directory_id,
        "deviceRegistrationState": "registered",
        "isSupervised": False,
        "isEncrypted": device.encrypted,
        "userPrincipalName": device.user,
        "serialNumber": device.serial,
        "androidSecurityPatchLevel": date(device.patched_at)[:10] if device.os == "Android" else "",
        "complianceGracePeriodExpirationDateTime": "9999-12-31T23:59:59Z",
        "partnerReportedThreatState": "unknown",
        "deviceHealthAttestationState": _attestation(device, now) if attested else None,
    }
    if not selected:
        return full
    return {name: full[name] for name in selected}


def _attestation(device: SimDevice, now: float) -> dict[str, Any]:
    return {
        "lastUpdateDateTime": date(device.last_sync(now)),
        "bitLockerStatus": "on" if device.encrypted else "off",
        "secureBoot": "enabled",
        "codeIntegrity": "enabled",
        "tpmVersion": "2.0",
    }


def policy_states(device: SimDevice, now: float) -> dict[str, Any]:
    """Return the `deviceCompliancePolicyStates` collection: why the device is not compliant."""
    failing = device.failing(now)
    settings = [{"setting": name, "state": "nonCompliant"} for name in failing]
    state = {
        "id": f"{device.id}_baseline",
        "displayName": "端末基準",
        "platformType": "windows10AndLater",
        "state": "nonCompliant" if failing else "compliant",
        "settingCount": 3,
        "settingStates": settings,
    }
    return {"value": [state]}


def select(text: str) -> tuple[str, ...]:
    """Parse `$select`; raise `QueryError` naming an unknown property."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in PROPERTIES:
            raise QueryError(f"Could not find a property named '{name}' on type 'microsoft.graph.managedDevice'.")
    return names


def top(text: str) -> int:
    """Parse `$top`; raise `QueryError` outside 1..1000."""
    try:
        value = int(text)
    except ValueError:
        raise QueryError(f"Invalid value '{text}' for $top query option found.") from None
    if not 1 <= value <= MAXIMUM_PAGE:
        raise QueryError(f"The limit of '{MAXIMUM_PAGE}' for Top query has been exceeded or is not positive.")
    return value


def page(devices: tuple[SimDevice, ...], size: int, token: str) -> tuple[tuple[SimDevice, ...], str]:
    """Return one page and the next `$skiptoken` ("" at the end); raise `QueryError` for a foreign token."""
    start = 0
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("skip:"))
        except (binascii.Error, ValueError, UnicodeDecodeError):
            raise QueryError("Skip token is malformed.") from None
    end = start + size
    following = base64.urlsafe_b64encode(f"skip:{end}".encode()).decode() if end < len(devices) else ""
    return devices[start:end], following


def error(code: str, message: str, request_id: str, now: float) -> dict[str, Any]:
    """Return Graph's error body."""
    inner = {"date": date(now)[:-1], "request-id": request_id, "client-request-id": request_id}
    return {"error": {"code": code, "message": message, "innerError": inner}}
