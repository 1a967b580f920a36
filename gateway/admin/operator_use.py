"""Operator tokens in use, as the steward learns of it: idleness ends nobody at work, eight hours end everyone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from gateway.state.command import StewardUnavailable

if TYPE_CHECKING:
    from gateway.state.records import Session
    from gateway.state.steward_client import StewardClient

_REPORT_EVERY = 5.0  # seconds, as workers do (design §5)


class OperatorUse:
    """Reports in the background: a steward that does not answer is met by the command itself, not by this."""

    def __init__(self, steward: StewardClient) -> None:
        self._steward = steward
        self._reported: dict[str, float] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def note(self, session: Session, now: float) -> None:
        """The token of `session` was used at `now` (epoch seconds)."""
        if now - self._reported.get(session.id, 0.0) < _REPORT_EVERY:
            return
        self._reported = {name: at for name, at in self._reported.items() if now - at < _REPORT_EVERY}
        self._reported[session.id] = now
        task = asyncio.ensure_future(self._report(session.id, now))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _report(self, session_id: str, now: float) -> None:
        with contextlib.suppress(StewardUnavailable):
            await self._steward.call("session.used", used={session_id: now})
