"""Which fields of a decision's record its completion repeats: who and what, so that each can be found alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from audit.event import BASE, Action

COMPLETED: Final[Mapping[str, Any]] = BASE[Action.REQUEST_COMPLETED]
_NAMED: Final = (
    "user.id", "user.name", "sekisho.app.id", "sekisho.session.id", "sekisho.app_session.id", "device.id", "source.ip",
    "url.domain", "sekisho.area",
)  # fmt: skip


def named_in_completion(decided: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a decision's record that stand in its completion too."""
    return {name: decided[name] for name in _NAMED if name in decided}
