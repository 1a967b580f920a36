"""From Graph's `managedDevice` to our three-valued facts: one table, and nothing that guesses.

Whatever is absent, of another type, or unheard of becomes None (= not known). Nothing unknown becomes compliant.
Source: Microsoft Graph REST reference v1.0, resource `managedDevice`, enum `complianceState`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from gateway.state.records import Device

COMPLIANCE: Mapping[str, tuple[bool | None, bool | None]] = {
    "compliant": (True, False),
    "noncompliant": (False, False),
    "inGracePeriod": (False, True),
    "conflict": (False, False),
    "unknown": (None, None),
    "error": (None, None),
    "configManager": (None, None),
}
"""`complianceState` → compliant, in grace. Every value that Graph documents; any other is not known.

`configManager` says who judges, not how it judged.
"""

JAILBROKEN: Mapping[str, bool | None] = {"True": True, "False": False, "Unknown": None}
"""`jailBroken` is a string on the wire."""

NOT_REGISTERED = "00000000-0000-0000-0000-000000000000"
"""What Graph says of every device that the directory does not know."""

SELECT = (
    "id",
    "azureADDeviceId",
    "deviceName",
    "userPrincipalName",
    "operatingSystem",
    "osVersion",
    "complianceState",
    "jailBroken",
    "isEncrypted",
    "lastSyncDateTime",
    "managementAgent",
    "androidSecurityPatchLevel",
)
"""What we ask for; nothing else about a device or its owner is read."""


class UnreadableDevice(Exception):
    """An entry without what names a device."""


def device_of(entry: object, now: float) -> Device:
    """Read one entry of `managedDevices`; raise `UnreadableDevice` where `azureADDeviceId` names no device.

    That name is what a certificate carries and what outlives an enrolment: `id` is another after each enrolment.
    """
    if not isinstance(entry, dict):
        raise UnreadableDevice("an entry is no object")
    uuid = _text(entry, "azureADDeviceId").lower()
    if not uuid or uuid == NOT_REGISTERED:
        raise UnreadableDevice("an entry has no azureADDeviceId")
    compliant, in_grace = COMPLIANCE.get(_text(entry, "complianceState"), (None, None))
    encrypted = entry.get("isEncrypted")
    return Device(
        id=f"graph:{uuid}",
        uuid=uuid,
        name=_text(entry, "deviceName"),
        source="graph",
        owner=_text(entry, "userPrincipalName").partition("@")[0].lower(),
        os=_text(entry, "operatingSystem"),
        os_version=_text(entry, "osVersion"),
        managed=True,
        compliant=compliant,
        in_grace=in_grace,
        encrypted=encrypted if isinstance(encrypted, bool) else None,
        jailbroken=JAILBROKEN.get(_text(entry, "jailBroken")),
        failing=_failing(compliant, encrypted, _text(entry, "jailBroken")),
        patched_at=_date(_text(entry, "androidSecurityPatchLevel")),
        seen_at=_date(_text(entry, "lastSyncDateTime")),
        read_at=now,
        revoked_serials=(),
    )


def _failing(compliant: bool | None, encrypted: object, jailbroken: str) -> tuple[str, ...]:
    names = []
    if encrypted is False:
        names.append("disk_encryption")
    if jailbroken == "True":
        names.append("jailbreak")
    if compliant is False and not names:
        names.append("mdm_policy")
    return tuple(names)


def _text(entry: Mapping[str, object], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _date(text: str) -> float | None:
    """Read an ISO date or time; year one is Graph's "never", an unreadable one is not known."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    if value.year <= 1:
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
