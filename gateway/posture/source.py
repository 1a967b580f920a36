"""The contract of every MDM connector: one reading of all devices, or a reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.state.records import Device


class SourceFault(StrEnum):
    """Why there is no reading, or none that could be kept."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    CREDENTIALS_REFUSED = "credentials_refused"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    ANSWER_INVALID = "answer_invalid"
    ANSWER_TOO_LARGE = "answer_too_large"
    NOT_KEPT = "not_kept"
    INTERNAL = "internal"


class SourceUnavailable(Exception):
    """No reading. `retry_after` is the service's own wish in seconds, None where it gave none."""

    def __init__(self, fault: SourceFault, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Reading:
    """All devices of one MDM at `read_at`, and how many entries could not be understood (each left out)."""

    devices: tuple[Device, ...]
    read_at: float
    unreadable: int


class PostureSource(Protocol):
    """One MDM."""

    name: str

    async def read(self, now: float) -> Reading:
        """Return every device as of `now`; raise `SourceUnavailable`, never a partial list."""
