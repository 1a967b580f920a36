"""The two-person rule: a proposal waits for another person, who sees exactly what will take effect."""

from __future__ import annotations

import json
import uuid
from typing import Any

from gateway.admin.endpoint import Call
from gateway.admin.problem import AdminReason, Problem
from gateway.state.records import Approval

LIFETIME = 7 * 86400.0  # seconds a proposal waits


async def propose(
    call: Call[Any], kind: str, subject: str, detail: dict[str, Any], lifetime: float = LIFETIME
) -> Approval:
    """Store a proposal; earlier open proposals about the same subject are refused to avoid two truths."""
    for other in call.context.reader.approvals(pending=True):
        if (other.kind, other.subject) == (kind, subject) and other.expires_at > call.now:
            raise Problem(
                AdminReason.CONFLICT,
                f"{subject} には承認待ちの申請 {other.id} があります。先に approvals grant または deny してください。",
            )
    approval = Approval(
        id=uuid.uuid4().hex[:12],
        kind=kind,
        subject=subject,
        detail=json.dumps(detail, ensure_ascii=False, sort_keys=True),
        requested_by=call.by,
        requested_at=call.now,
        expires_at=call.now + lifetime,
        decided_by="",
        decided_at=None,
        granted=False,
    )
    await call.context.steward.call("approval.put", approval=approval.to_row())
    return approval


def approval_row(approval: Approval, now: float) -> dict[str, Any]:
    """A proposal as the API tells of it."""
    if approval.decided_at is not None:
        state = "granted" if approval.granted else "denied"
    else:
        state = "pending" if approval.expires_at > now else "expired"
    return {**approval.to_row(), "detail": json.loads(approval.detail or "{}"), "state": state}
