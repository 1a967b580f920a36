"""Errors of the admin API: one exception, answered as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class AdminReason(StrEnum):
    """Why a command was not carried out. A code is never renamed: scripts and records rely on it."""

    SIGN_IN_REQUIRED = "sign_in_required"
    NOT_PERMITTED = "not_permitted"
    OWN_REQUEST = "own_request"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID_ARGUMENTS = "invalid_arguments"
    FILE_FAULTS = "file_faults"
    REFUSED_BY_STEWARD = "refused_by_steward"
    JOURNAL_UNHEALTHY = "journal_unhealthy"
    STEWARD_UNAVAILABLE = "steward_unavailable"
    SEARCH_FAILED = "search_failed"
    TRAIL_NOT_AS_WRITTEN = "trail_not_as_written"
    INTERNAL_ERROR = "internal_error"


_STATUS: Mapping[AdminReason, int] = {
    AdminReason.SIGN_IN_REQUIRED: 401,
    AdminReason.NOT_PERMITTED: 403,
    AdminReason.OWN_REQUEST: 403,
    AdminReason.NOT_FOUND: 404,
    AdminReason.CONFLICT: 409,
    AdminReason.INVALID_ARGUMENTS: 400,
    AdminReason.FILE_FAULTS: 422,
    AdminReason.REFUSED_BY_STEWARD: 409,
    AdminReason.JOURNAL_UNHEALTHY: 503,
    AdminReason.STEWARD_UNAVAILABLE: 503,
    AdminReason.SEARCH_FAILED: 500,
    AdminReason.TRAIL_NOT_AS_WRITTEN: 500,
    AdminReason.INTERNAL_ERROR: 500,
}


class Problem(Exception):
    """The command is not carried out. `detail` is for the operator; `reason` is an AdminReason or a gate reason."""

    def __init__(
        self,
        reason: AdminReason | str,
        detail: str,
        *,
        status: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = str(reason)
        self.detail = detail
        self.status = status or (_STATUS[reason] if isinstance(reason, AdminReason) else 400)
        self.extra = dict(extra or {})

    def body(self, request_id: str) -> dict[str, Any]:
        """The RFC 9457 members, with the reason code and the request's id."""
        return {
            **self.extra,
            "type": f"urn:sekisho:problem:{self.reason}",
            "title": self.reason,
            "status": self.status,
            "detail": self.detail,
            "reason": self.reason,
            "request_id": request_id,
        }


def not_found(kind: str, name: str) -> Problem:
    """The thing that was named does not exist."""
    return Problem(AdminReason.NOT_FOUND, f"{kind} {name!r} は見つかりません。")
