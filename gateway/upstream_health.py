"""The record of an upstream that is left alone, and of one that gets requests again (`gateway.edge.breaker`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audit.event import Action, event

if TYPE_CHECKING:
    from gateway.edge.pool import HealthChange


def health_record(app_id: str, change: HealthChange, worker: str, wall: float) -> dict[str, Any]:
    """Return the record of one change that `worker` made at `wall`.

    `event.duration` (ns) is how long it is left alone at first, or how long it was.
    """
    fields: dict[str, Any] = {
        "sekisho.app.id": app_id, "sekisho.upstream.address": change.pool.address, "sekisho.worker": worker,
        "event.duration": int(change.seconds * 1e9),
    }  # fmt: skip
    if change.reason is None:
        return event(Action.UPSTREAM_RECOVERED, wall, fields)
    return event(
        Action.UPSTREAM_FAILED, wall,
        {**fields, "event.outcome": "failure", "sekisho.reason": change.reason.value, "sekisho.count": change.failures},
    )  # fmt: skip
