"""What changed: the row changes that cross from the steward to the workers, and their summary.

A row change is `[table, key, row]`; `row` is the record's mapping (`Row.to_row`), or `None` where the row is gone.
Tables of the feed: `user session app_session device crl revoked app lock policy page`. Factors never travel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RowChange = tuple[str, str, dict[str, Any] | None]


@dataclass(slots=True)
class Change:
    """Which things one applied delta (or a fresh snapshot) touched, so that live connections can be judged again.

    `everything` is set after a snapshot that replaced an older view: whatever is alive must be judged again.
    `ended` maps each session that ended with this change to its reason code.
    """

    revision: int
    users: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    apps: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)  # groups that a lock names
    revoked: set[str] = field(default_factory=set)  # ids of the `RevokedSerials` that changed
    ended: dict[str, str] = field(default_factory=dict)
    policy: bool = False
    locks: bool = False
    pages: bool = False
    everything: bool = False

    @property
    def narrows(self) -> bool:
        """Whether live connections have to be judged again because of this change."""
        return bool(
            self.everything
            or self.policy
            or self.locks
            or self.users
            or self.devices
            or self.revoked
            or self.apps
            or self.ended
            or self.sessions
        )
