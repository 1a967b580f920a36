"""Alerts as control sends them: it follows the trail in a child process and hands what needs a person to the outbox.

The child reads at low CPU weight, so a flood of records never stalls a page. What was recorded while control was not
there is told late rather than never: the time of the last matter told outlives the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import aiohttp

from audit.event import timestamp
from gateway.admin.problem import Problem
from gateway.admin.searching import Request, lines
from gateway.signals.alert import ACTIONS, Alert, AlertKind, alert_of
from gateway.signals.channels import Channel, MailAccess, MailChannel, WebhookAccess, WebhookChannel
from gateway.signals.outbox import Outbox

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext
    from gateway.settings import Settings

LOOK_BACK_MAX: Final = 86_400.0  # seconds: older matters are in the reports, not in anybody's mailbox
TOLD_FILE: Final = "alerts-told.json"
_AGAIN: Final = 5.0  # seconds before the trail is followed again after a fault
_AT_ONCE: Final = 1000
_SLACK: Final = 2.0  # seconds by which another process's record may come late
_log = logging.getLogger("sekisho.alerts")


class Alerting:
    """The alerts of one installation, over the ways out that its settings name."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_file = settings.paths.state / TOLD_FILE
        self._http = aiohttp.ClientSession()
        self._outbox = Outbox(_channels(settings, self._http, clock), clock)

    async def run(self, context: ControlContext) -> None:
        """Follow and send for ever; ends only by cancellation."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._outbox.run())
                group.create_task(self._follow(context))
        finally:
            await self._http.close()

    async def test(self) -> dict[str, str]:
        """Send a test on every way out now; return each one's fault ("" = handed over)."""
        now = self._clock()
        return await self._outbox.test(Alert(AlertKind.TEST, f"test:{now}", timestamp(now), "", ""))

    def states(self) -> list[dict[str, object]]:
        """How every way out is doing."""
        return [asdict(state) for state in self._outbox.states()]

    async def _follow(self, context: ControlContext) -> None:
        while True:
            request = Request(actions=ACTIONS, since=self._since(), limit=_AT_ONCE)
            try:
                async with aclosing(lines(context, request, follow=True)) as trail:
                    async for line in trail:
                        self._take(line)
            except (Problem, OSError, ValueError) as fault:
                _log.error("the trail cannot be followed for alerts: %s", fault)
            await asyncio.sleep(_AGAIN)

    def _take(self, line: bytes) -> None:
        alert = alert_of(json.loads(line))
        if alert is not None and self._outbox.put(alert):
            _log.warning("alert: %s (%s)", alert.kind.value, alert.event_id)
        self._told_file.write_text(json.dumps({"told": self._clock()}), "utf-8")

    def _since(self) -> float:
        """Seconds since the epoch from which on nothing has been told; now, at the first start."""
        now = self._clock()
        try:
            told = float(json.loads(self._told_file.read_text("utf-8"))["told"])
        except FileNotFoundError:
            self._told_file.write_text(json.dumps({"told": now}), "utf-8")
            return now
        except (OSError, ValueError, KeyError, TypeError):
            _log.warning("%s cannot be read; the last day is told again", self._told_file.name)
            return now - LOOK_BACK_MAX
        return max(told - _SLACK, now - LOOK_BACK_MAX)


def _channels(settings: Settings, http: aiohttp.ClientSession, clock: Callable[[], float]) -> list[Channel]:
    alerts = settings.alerts
    channels: list[Channel] = []
    if alerts is not None and alerts.mail is not None:
        mail = alerts.mail
        access = MailAccess(
            mail.host, mail.port, mail.security, mail.ca, mail.user, mail.password_file, mail.sender, mail.recipients
        )  # fmt: skip
        channels.append(MailChannel(access, settings.portal.organisation, clock))
    if alerts is not None and alerts.webhook is not None:
        hook = alerts.webhook
        channels.append(WebhookChannel(WebhookAccess(hook.url, hook.secret_file, hook.ca), http, clock))
    return channels
