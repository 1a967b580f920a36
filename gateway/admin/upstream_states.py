"""How each app's servers stand, put together from what the workers count: each judges them for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.admin.endpoint import Call
from gateway.state.command import StewardUnavailable

_COUNTS: Final = ("load", "opened", "reused", "failed", "waited", "refused", "stopped", "opens")


def of_workers(workers: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return for each app, by id, its servers: the counts of all workers, and how many of them leave it alone.

    `workers` is what the steward tells of them; a server that no worker used since it started is not among them.
    """
    apps: dict[str, dict[str, dict[str, Any]]] = {}
    for worker in workers:
        counters = worker.get("counters") or {}
        if not worker.get("connected"):
            continue
        for app_id, servers in (counters.get("upstreams") or {}).items():
            known = apps.setdefault(app_id, {})
            for server in servers:
                address = server["address"]
                row = known.setdefault(
                    address, {"address": address, "workers": 0, "left_alone": 0, **dict.fromkeys(_COUNTS, 0)}
                )
                row["workers"] += 1
                row["left_alone"] += 1 if server["open"] else 0
                for name in _COUNTS:
                    row[name] += server[name]
    return {app_id: list(known.values()) for app_id, known in sorted(apps.items())}


async def upstream_states(call: Call[Any]) -> dict[str, list[dict[str, Any]]] | None:
    """Ask the steward and return `of_workers`; None where it does not answer."""
    try:
        status = await call.context.steward.call("status")
    except StewardUnavailable:
        return None
    return of_workers(status["workers"])
