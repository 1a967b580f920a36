"""Every command of the steward by name. What each takes, gives and checks stands in its function's docstring."""

from __future__ import annotations

from gateway.state import ops_crl, ops_locks, ops_people, ops_sessions, ops_things
from gateway.state.command import Command

COMMANDS: dict[str, Command] = {
    **ops_people.COMMANDS,
    **ops_sessions.COMMANDS,
    **ops_locks.COMMANDS,
    **ops_things.COMMANDS,
    **ops_crl.COMMANDS,
}
