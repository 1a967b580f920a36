"""`status`: is everything that must hold holding, in one look."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from audit.room import look
from audit.witnesses import standings
from gateway.admin.elastic import shipping
from gateway.admin.endpoint import Arguments, Call, Reply
from gateway.admin.outlets import outlets
from gateway.admin.policy_versions import loaded
from gateway.admin.upstream_states import of_workers
from gateway.state.command import StewardUnavailable
from gateway.state.records import AppState, PolicyState
from gateway.supervision.filling import limited
from policies.model import Mode

if TYPE_CHECKING:
    from gateway.settings import Settings


async def status(call: Call[Arguments]) -> Reply:
    """Processes, policy with its rules that do not bite yet, sessions, locks, proposals, journal, checkpoint."""
    context, reader = call.context, call.context.reader
    try:
        steward: dict[str, Any] = {"healthy": True, **(await call.context.steward.call("status"))}
    except StewardUnavailable as fault:
        steward = {"healthy": False, "fault": str(fault)}
    sessions = reader.sessions(active=True)
    approvals = [item for item in reader.approvals(pending=True) if item.expires_at > call.now]
    data = {
        "time": call.now,
        "steward": steward,
        "workers_expected": context.settings.workers.count,
        "journal": {"healthy": call.context.journal.healthy},
        "disk": await asyncio.to_thread(_disk, context.settings),
        "policy": _policy(call),
        "sessions": {
            "browser": sum(1 for session in sessions if not session.operator),
            "operator": sum(1 for session in sessions if session.operator),
        },
        "apps": {state.value: sum(1 for app in reader.apps() if app.state == state) for state in AppState},
        "locks": len([lock for lock in reader.locks() if lock.expires_at is None or lock.expires_at > call.now]),
        "approvals": len(approvals),
        "checkpoint": _checkpoint(call),
        "witnesses": _witnesses(call),
        "elasticsearch": shipping(call),
        "outlets": outlets(call),
        "upstreams": of_workers(steward.get("workers", ())),
        "posture": context.posture.state() if context.posture is not None else None,
        "revocation_lists": await asyncio.to_thread(context.lists.states) if context.lists is not None else [],
        "alerts": context.alerts.states() if context.alerts is not None else None,
    }
    return Reply(data, rows=1)


def _witnesses(call: Call[Arguments]) -> list[dict[str, Any]]:
    """How each witness that the settings name stands, as the auditor tells."""
    settings = call.context.settings
    return [] if settings.witness is None else [asdict(each) for each in standings(settings.auditor_state)]


def _disk(settings: Settings) -> dict[str, Any] | None:
    """Return the room on the journals' disk, and whose new records it has none for; None where it does not answer."""
    try:
        room = look(settings.paths.journal)
    except OSError:
        return None
    return {
        "total": room.total,
        "free": room.free,
        "used_percent": round(room.used * 100, 1),
        "alarm": room.used * 100 >= settings.journal.disk_alarm_percent,
        "limited": limited(settings.journal.reserves(), room),
    }


def _policy(call: Call[Arguments]) -> dict[str, Any] | None:
    active = next((v for v in call.context.reader.policies() if v.state == PolicyState.ACTIVE), None)
    if active is None:
        return None
    rules = loaded(active.source, active.hash[:12]).rules
    soft = [
        {"rule": rule.id, "mode": rule.mode.value, "expires": rule.expires}
        for rule in rules
        if rule.mode in (Mode.OBSERVE, Mode.WARN)
    ]
    return {"hash": active.hash, "title": active.title, "rules": len(rules), "not_enforced": soft}


def _checkpoint(call: Call[Arguments]) -> dict[str, Any] | None:
    """Size and age of the latest signed checkpoint (C2SP tlog-checkpoint: origin, size, root)."""
    path = call.context.settings.paths.log / "checkpoint"
    try:
        text = path.read_text()
        written = path.stat().st_mtime
    except OSError:
        return None
    parts = text.splitlines()
    size = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else None
    return {"size": size, "age": max(0.0, call.now - written)}
