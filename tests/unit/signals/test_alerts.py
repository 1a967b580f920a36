"""Alerts: which records are told, in which words, over a real SMTP receiver and a real HTTP receiver."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiosmtpd.controller import Controller

from gateway.signals.alert import NEXT_STEPS, TITLES, Alert, AlertKind, alert_of
from gateway.signals.channels import ChannelFault, MailAccess, MailChannel, WebhookAccess, WebhookChannel
from gateway.signals.outbox import QUIET_SECONDS, Outbox, backoff
from tests.support.ports import free_port

NOW = 1_790_000_000.0
ALERT = Alert(AlertKind.WORKER_FENCED, "worker_fenced:worker-0", "2026-09-21T00:00:00.000Z", "worker-0", "steward-1-7")


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (
            {"event.action": "audit.gap", "event.id": "worker-0:3:7", "sekisho.gap.refused": 3},
            "journal_unhealthy:worker-0",
        ),
        ({"event.action": "worker.fenced", "sekisho.worker": "worker-1"}, "worker_fenced:worker-1"),
        ({"event.action": "posture.failed", "sekisho.count": 3, "sekisho.posture.source": "graph"}, "mdm_stale:graph"),
        ({"event.action": "posture.failed", "sekisho.count": 2, "sekisho.posture.source": "graph"}, None),
        ({"event.action": "case.opened", "sekisho.case.id": "c-1", "message": "x"}, "case_opened:c-1"),
        ({"event.action": "clock.jumped", "sekisho.clock.jump_seconds": 900.0}, "clock_jumped:clock"),
        ({"event.action": "audit.refused", "sekisho.log.writer": "w"}, "trail_refused:w"),
        ({"event.action": "request.decided"}, None),
        ({}, None),
    ],
)
def test_which_records_are_told(record: dict[str, Any], key: str | None) -> None:
    alert = alert_of(record)

    assert (alert.key if alert else None) == key


def test_every_kind_has_words() -> None:
    assert set(TITLES) == set(NEXT_STEPS) == set(AlertKind)


class Mailbox:
    """Keeps what it is handed."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append(envelope.content)
        return "250 OK"


def mail_access(port: int) -> MailAccess:
    return MailAccess("127.0.0.1", port, "none", None, "", None, "sekisho@city.example.jp", ("ciso@city.example.jp",))


def test_mail_arrives_in_japanese() -> None:
    mailbox = Mailbox()
    port = free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        asyncio.run(MailChannel(mail_access(port), "見本市", lambda: NOW).send(ALERT))
    finally:
        controller.stop()

    mail = message_from_bytes(mailbox.mails[0], policy=default)
    assert mail["Subject"] == "[関所] 応答しない処理を停止しました"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "sekisho events show steward-1-7" in mail.get_content()


def test_mail_relay_away_is_a_named_fault() -> None:
    with pytest.raises(ChannelFault, match="cannot be reached: ConnectionRefusedError"):
        asyncio.run(MailChannel(mail_access(9), "見本市", lambda: NOW).send(ALERT))


def test_webhook_is_signed_and_faults_are_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"shared-key\n")
    got: list[tuple[str, bytes]] = []
    statuses = [200, 500, 302]

    async def receive(request: web.Request) -> web.Response:
        got.append((request.headers["X-Sekisho-Signature"], await request.read()))
        return web.Response(status=statuses[len(got) - 1], headers={"Location": "/elsewhere"})

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/hook", receive)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        async with aiohttp.ClientSession() as http:
            channel = WebhookChannel(WebhookAccess(url, secret, None), http, lambda: NOW)
            await channel.send(ALERT)
            for status in (500, 302):
                with pytest.raises(ChannelFault, match=f"answered {status}"):
                    await channel.send(ALERT)
        await runner.cleanup()

    asyncio.run(main())
    header, body = got[0]
    expected = hmac.new(b"shared-key", b"1790000000." + body, hashlib.sha256).hexdigest()
    assert header == f"t=1790000000,v1={expected}"


class Failing:
    """A channel that fails so many times, then keeps what it is handed."""

    name = "failing"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.sent: list[Alert] = []
        self.done = asyncio.Event()

    async def send(self, alert: Alert) -> None:
        if self.failures:
            self.failures -= 1
            raise ChannelFault("away")
        self.sent.append(alert)
        self.done.set()


def test_failure_is_tried_again_and_the_same_matter_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.signals.outbox.BACKOFF_FLOOR", 0.001)
    now = [NOW]

    async def main() -> None:
        channel = Failing(2)
        outbox = Outbox([channel], lambda: now[0])
        running = asyncio.create_task(outbox.run())
        assert outbox.put(ALERT)
        assert not outbox.put(ALERT)
        await asyncio.wait_for(channel.done.wait(), 30)
        now[0] += QUIET_SECONDS
        assert outbox.put(ALERT)
        running.cancel()
        assert [alert.key for alert in channel.sent] == [ALERT.key]
        assert (outbox.states()[0].sent, outbox.states()[0].failed) == (1, 0)

    asyncio.run(main())


def test_backoff_grows_to_a_ceiling() -> None:
    assert [backoff(n) for n in (1, 2, 3, 20)] == [2.0, 4.0, 8.0, 300.0]


def test_full_queue_drops_the_oldest_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.signals.outbox.QUEUE_MAX", 2)

    async def main() -> None:
        outbox = Outbox([Failing(0)], lambda: NOW)
        for number in range(5):
            outbox.put(Alert(AlertKind.CASE_OPENED, f"case:{number}", "", "", ""))
        assert (outbox.states()[0].waiting, outbox.states()[0].dropped) == (2, 3)

    asyncio.run(main())
