"""The two records of an admin command: `admin.requested` before it acts, `admin.done` after."""

from __future__ import annotations

from typing import Any

from audit.event import Action, event
from gateway.admin.endpoint import Operator
from gateway.identity.context import ControlContext


class Trail:
    """What is written down about one command. Every method raises JournalUnhealthy where the record is not kept."""

    def __init__(self, context: ControlContext, command: str, request_id: str) -> None:
        self._context = context
        self._requested = False
        self.command = command
        self.request_id = request_id
        self.operator: Operator | None = None
        self.arguments: dict[str, Any] = {}
        self.justification = ""
        self.ticket = ""

    async def requested(self) -> None:
        """Write the command down; only then may it act."""
        arguments = {**self.arguments, **({"ticket": self.ticket} if self.ticket else {})}
        await self._context.journal.record(
            event(
                Action.ADMIN_REQUESTED,
                self._context.clock(),
                {
                    **self._who(),
                    "sekisho.admin.arguments": arguments,
                    "sekisho.justification": self.justification or None,
                },
            )
        )
        self._requested = True

    async def done(self, outcome: str, *, rows: int = 0, reason: str = "") -> None:
        """Write down how it ended and how many rows were given out."""
        await self._context.journal.record(
            event(
                Action.ADMIN_DONE,
                self._context.clock(),
                {
                    **self._who(),
                    "event.outcome": outcome,
                    "sekisho.admin.result": reason or "done",
                    "sekisho.count": rows,
                },
            )
        )

    async def refused(self, reason: str) -> None:
        """Write down a command that was not carried out, together with what was asked if that is not yet written."""
        if not self._requested:
            await self.requested()
        await self.done("failure", reason=reason)

    def _who(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "http.request.id": self.request_id,
            "sekisho.admin.id": self.request_id,
            "sekisho.admin.command": self.command,
        }
        if self.operator is not None:
            user = self.operator.user
            fields |= {
                "user.id": user.id,
                "user.name": user.login,
                "user.roles": sorted(self.operator.roles),
                "sekisho.session.id": self.operator.session.id,
            }
        return fields
