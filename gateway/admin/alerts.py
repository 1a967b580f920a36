"""Commands about alerts: how the ways out are doing, and a test on each of them."""

from __future__ import annotations

from gateway.admin.endpoint import Arguments, Call, Change, Reply
from gateway.admin.problem import AdminReason, Problem
from gateway.identity.context import AlertDesk


async def status(call: Call[Arguments]) -> Reply:
    """Every way out: sent, failed, waiting, dropped, the last fault."""
    states = call.context.alerts.states() if call.context.alerts is not None else []
    return Reply({"items": states, "total": len(states)}, rows=len(states))


async def test(call: Call[Change]) -> Reply:
    """Send a test message on every way out, now; tells each one's fault."""
    desk = _desk(call)
    names = [str(state["name"]) for state in desk.states()]
    if call.arguments.dry_run:
        return Reply({"plan": [{"channel": name} for name in names], "hit": len(names)}, rows=len(names))
    faults = await desk.test()
    rows = [{"channel": name, "delivered": not fault, "fault": fault} for name, fault in faults.items()]
    return Reply({"items": rows, "total": len(rows)}, rows=len(rows))


def _desk(call: Call[Change]) -> AlertDesk:
    if call.context.alerts is None:
        raise Problem(AdminReason.CONFLICT, "通知の送り先が設定されていません (sekisho.toml の [alerts])。")
    return call.context.alerts
