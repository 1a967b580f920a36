"""Commands about proposals: list, grant or deny. Nobody decides their own."""

from __future__ import annotations

from typing import Any, Literal

from gateway.admin import apps, policy_versions, reveals
from gateway.admin.approval_request import approval_row
from gateway.admin.endpoint import Call, Change, Listing, Reply, Role, listed
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.state.records import Approval


class ApprovalListing(Listing):
    """`all` also lists what is decided or expired."""

    all: bool = False


class Decide(Change):
    """Grant or deny a proposal."""

    approval: str
    decision: Literal["grant", "deny"]


async def ls(call: Call[ApprovalListing]) -> Reply:
    """Proposals, newest first."""
    rows = [approval_row(item, call.now) for item in call.context.reader.approvals(pending=not call.arguments.all)]
    if not call.arguments.all:
        rows = [row for row in rows if row["state"] == "pending"]
    rows.sort(key=lambda row: float(row["requested_at"]), reverse=True)
    return listed(rows, call.arguments.limit)


async def decide(call: Call[Decide]) -> Reply:
    """Grant (it takes effect before the answer) or deny a proposal of another person."""
    approval = _open(call)
    granted = call.arguments.decision == "grant"
    if granted and approval.kind == policy_versions.KIND and Role.CISO not in call.operator.roles:
        raise Problem(AdminReason.NOT_PERMITTED, "ポリシーを承認できるのは CISO だけです。")
    if granted:
        _check(call, approval)
    if call.arguments.dry_run:
        return Reply({"plan": [{"action": call.arguments.decision, **approval_row(approval, call.now)}], "hit": 1}, 1)
    await call.context.steward.call("approval.decide", id=approval.id, by=call.by, granted=granted)
    effect = await _take_effect(call, approval) if granted else {}
    return Reply({"approval": approval.id, "decision": call.arguments.decision, **effect}, rows=1)


def _open(call: Call[Decide]) -> Approval:
    approval = next((a for a in call.context.reader.approvals() if a.id == call.arguments.approval), None)
    if approval is None:
        raise not_found("申請", call.arguments.approval)
    if approval.decided_at is not None:
        raise Problem(AdminReason.CONFLICT, f"申請 {approval.id} は {approval.decided_by} が既に判断しました。")
    if approval.expires_at <= call.now:
        raise Problem(AdminReason.CONFLICT, f"申請 {approval.id} は期限切れです。もう一度申請してください。")
    if approval.requested_by == call.by and call.arguments.decision == "grant":
        raise Problem(AdminReason.OWN_REQUEST, "自分の申請は承認できません。他の管理者に依頼してください。")
    return approval


def _check(call: Call[Any], approval: Approval) -> None:
    reveals.refuse_plain_grant(approval)
    if approval.kind == apps.KIND:
        apps.check_effect(call, approval)
    elif approval.kind == policy_versions.KIND:
        policy_versions.check_effect(call, approval)
    else:
        raise Problem(AdminReason.CONFLICT, f"申請の種類 {approval.kind!r} は扱えません。")


async def _take_effect(call: Call[Any], approval: Approval) -> dict[str, Any]:
    if approval.kind == apps.KIND:
        return await apps.take_effect(call, approval)
    return await policy_versions.take_effect(call, approval)
