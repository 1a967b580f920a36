"""How the other ways out of the records are doing, as the auditor tells it in files."""

from __future__ import annotations

import json
from typing import Any

from gateway.admin.elastic import FRESH
from gateway.admin.endpoint import Call


def outlets(call: Call[Any]) -> list[dict[str, Any]]:
    """Return lag, count and last fault of every outlet in the settings; one that nobody tells of is not `running`."""
    settings = call.context.settings
    if settings.outlets is None:
        return []
    wanted = {"ndjson": settings.outlets.ndjson, "syslog": settings.outlets.syslog}
    found = []
    for name, section in wanted.items():
        if section is None:
            continue
        told: dict[str, Any] = {"outlet": name, "running": False}
        try:
            told |= json.loads((settings.auditor_state / "outlets" / f"{name}.status.json").read_bytes())
            told["running"] = call.now - float(told.pop("at")) <= FRESH
        except FileNotFoundError:
            told["fault"] = "no status yet"
        found.append(told)
    return found
