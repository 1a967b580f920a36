"""Commands about the log's key: the auditor, who has it, gives it up for a new one when it is asked to."""

from __future__ import annotations

import asyncio
from typing import Final

from audit.checkpoint import read_verifier
from audit.key_requests import Outcome, Request, ask, asked, outcome
from gateway.admin.endpoint import Call, Change, Reply
from gateway.admin.problem import AdminReason, Problem
from gateway.keyfiles import CHECKPOINT

_PATIENCE: Final = 20.0  # seconds
_LOOK: Final = 0.1


async def rotate(call: Call[Change]) -> Reply:
    """Have the auditor rotate its key; answers once the new key has signed."""
    settings = call.context.settings
    try:
        old = read_verifier((settings.paths.keys / CHECKPOINT).with_suffix(".pub").read_text()).encode()
        waiting = asked(settings.auditor_state)
    except (OSError, ValueError) as error:
        raise Problem(AdminReason.CONFLICT, f"署名鍵の状態を読めません: {error}") from error
    if waiting is not None:
        raise Problem(AdminReason.CONFLICT, f"{waiting.who} の鍵交換がまだ終わっていません (auditor を確認)。")
    if call.arguments.dry_run:
        return Reply({"plan": [{"old": old}], "hit": 1}, rows=1)
    ask(settings.auditor_state, Request(old, call.by, call.arguments.reason, call.request_id))
    done = await _outcome(call)
    if done is None:
        detail = "auditor がまだ応じていません。動き次第、交換されます (sekisho audit keys ls で確認)。"
        raise Problem(AdminReason.CONFLICT, detail, status=503)
    if done.fault:
        raise Problem(AdminReason.CONFLICT, f"鍵は元のままです: {done.fault}")
    return Reply({"old": old, "new": done.new, "size": done.size}, rows=1)


async def _outcome(call: Call[Change]) -> Outcome | None:
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    while loop.time() < end:
        found = outcome(call.context.settings.auditor_state)
        if found is not None and found.request_id == call.request_id:
            return found
        await asyncio.sleep(_LOOK)
    return None
