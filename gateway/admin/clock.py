"""Commands about time: an operator vouches for a machine's clock that leapt ahead, so that workers serve again."""

from __future__ import annotations

from gateway.admin.endpoint import Call, Change, Reply
from gateway.admin.problem import AdminReason, Problem


async def accept(call: Call[Change]) -> Reply:
    """Go on from the wall clock as it stands; only where it leapt further than is believed without being asked."""
    clock = (await call.context.steward.call("status"))["clock"]
    if not clock["jumped"]:
        raise Problem(AdminReason.CONFLICT, "時計は進みすぎていません。承認するものはありません。")
    if call.arguments.dry_run:
        return Reply({"plan": [{"leap": clock["leap"], "now": clock["now"]}], "hit": 1}, rows=1)
    done = await call.context.steward.call("clock.accept", by=call.by, reason=call.arguments.reason)
    return Reply({"leap": done["leap"]}, rows=1)
