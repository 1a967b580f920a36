"""Each kind of process is killed under load; what reached the app and what the journal says agree, both ways."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import Any

from cli.city.processes import await_ready, gateway_command
from cli.city.sign_in import browser, sign_in
from cli.tour.load import Load, working
from cli.tour.registration import APP, recorded_file, url
from cli.tour.stage import Shown, Stage, require
from cli.tour.trail import journalled, verifies

KINDS = ("worker-0", "steward", "control", "auditor")
_CLIENTS = 6
_BACK_WITHIN = 40.0
_SETTLE = 0.7  # seconds of load around each kill


async def agree(stage: Stage) -> Shown:
    """Kill every kind of process while kato works on, then compare the two lists."""
    async with browser(stage.city) as visitor:
        page = await sign_in(visitor, stage.city, stage.city.person("kato"), url(stage))
        require(page.status == 200, f"the recording app answered {page.status}")
        longest = 0.0
        async with working(visitor, url(stage), _CLIENTS) as load:
            for kind in KINDS:
                longest = max(longest, await _kill(stage, kind))
            longest = max(longest, await _kill_supervisor(stage))
            served = len(load.answered)
            await asyncio.sleep(_SETTLE)
            require(len(load.answered) > served, "nothing was served after the last kill")
    lost = _compare(stage, load)
    await verifies(stage)
    return Shown(
        f"{len(KINDS) + 1} 種のプロセスを SIGKILL しても、アプリに届いた要求と記録が双方向に一致(未達 {lost})",
        f"{len(load.answered)} 要求、復帰は最長 {longest:.1f} s",
    )


async def _kill(stage: Stage, kind: str) -> float:
    """Kill one process; returns the seconds until it was back and ready."""
    await asyncio.sleep(_SETTLE)
    pid = _process(stage, kind)["pid"]
    begun = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(_BACK_WITHIN):
        while True:
            found = _process(stage, kind)
            if found["ready"] and found["pid"] not in (None, pid):
                break
            await asyncio.sleep(0.05)
    spent = time.monotonic() - begun
    await asyncio.sleep(_SETTLE)
    return spent


async def _kill_supervisor(stage: Stage) -> float:
    """Kill the one that starts the others: all end with it, and a new start goes on from what is on the disk."""
    begun = time.monotonic()
    status = _status(stage)
    os.kill(status["pid"], signal.SIGKILL)
    async with asyncio.timeout(_BACK_WITHIN):
        while any(_lives(each["pid"]) for each in status["processes"]):  # noqa: ASYNC110  # others' deaths
            await asyncio.sleep(0.05)
    started = stage.processes.start("gateway", gateway_command(stage.city), piped=True)
    await asyncio.to_thread(await_ready, started, stage.processes)
    return time.monotonic() - begun


def _status(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((stage.root / "run" / "supervisor.json").read_text(encoding="utf-8"))
    return found


def _process(stage: Stage, name: str) -> dict[str, Any]:
    return next(each for each in _status(stage)["processes"] if each["name"] == name)


def _lives(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _compare(stage: Stage, load: Load) -> int:
    """Compare the upstream's own list with the journal; returns how many decisions never reached the app."""
    reached = recorded_file(stage).read_text(encoding="ascii").split()
    mine = [record for record in journalled(stage.root, "worker-*") if record.get("sekisho.app.id") == APP]
    decided = {
        record["http.request.id"] for record in mine
        if record["event.action"] == "request.decided" and record.get("sekisho.verdict") == "forward"
    }  # fmt: skip
    whole = {
        record["http.request.id"] for record in mine
        if record["event.action"] == "request.completed" and record.get("sekisho.outcome") == "complete"
    }  # fmt: skip
    require(len(reached) == len(set(reached)), "one request reached the app twice")
    unrecorded = set(reached) - decided
    require(not unrecorded, f"{len(unrecorded)} requests reached the app without a recorded decision")
    require(load.answered <= set(reached), "an answer came that the app did not give")
    invented = (decided - set(reached)) & whole
    require(not invented, f"{len(invented)} requests are recorded as complete and never reached the app")
    return len(decided - set(reached))
