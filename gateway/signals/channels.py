"""The ways out: mail over SMTP, and a signed HTTP POST. Each sends one alert or raises `ChannelFault`.

The webhook's signature is HMAC-SHA-256 over `timestamp.body` in `X-Sekisho-Signature: t=…,v1=<hex>`; a receiver
compares it and refuses what is older than some minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol

import aiohttp
import orjson

from gateway.signals.alert import Alert

SEND_TIMEOUT = 15.0
SUCCESS = 2  # the class of 2xx answers


class ChannelFault(Exception):
    """The alert could not be handed over; the message says why, without any secret."""


class Channel(Protocol):
    """One way out."""

    name: str

    async def send(self, alert: Alert) -> None:
        """Hand one alert over; raise `ChannelFault`."""


@dataclass(frozen=True, slots=True)
class MailAccess:
    """How to reach the mail relay. The password is read from its file at each sending, never kept."""

    host: str
    port: int
    security: str  # starttls | tls | none
    ca: Path | None
    user: str
    password_file: Path | None
    sender: str
    recipients: tuple[str, ...]


class MailChannel:
    """Alerts by mail."""

    name = "mail"

    def __init__(self, access: MailAccess, organisation: str, clock: Callable[[], float]) -> None:
        self._access = access
        self._organisation = organisation
        self._clock = clock

    async def send(self, alert: Alert) -> None:
        """Hand the mail to the relay in a thread; raise `ChannelFault`."""
        message = self.message(alert)
        try:
            await asyncio.to_thread(self._deliver, message)
        except smtplib.SMTPAuthenticationError:
            raise ChannelFault("the mail relay refused the user or the password") from None
        except smtplib.SMTPException as error:
            raise ChannelFault(f"the mail relay refused the message: {type(error).__name__}") from None
        except ssl.SSLError as error:
            raise ChannelFault(f"the mail relay's TLS failed: {error.reason}") from None
        except OSError as error:
            raise ChannelFault(f"the mail relay cannot be reached: {type(error).__name__}") from None

    def message(self, alert: Alert) -> EmailMessage:
        """Return the mail of one alert."""
        message = EmailMessage(policy=SMTP)
        message["Subject"] = f"[関所] {alert.title}"
        message["From"] = self._access.sender
        message["To"] = ", ".join(self._access.recipients)
        message["Date"] = format_datetime(datetime.fromtimestamp(self._clock(), UTC))
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(f"{self._organisation}\n\n{alert.text}\n")
        return message

    def _deliver(self, message: EmailMessage) -> None:
        access = self._access
        context = ssl.create_default_context(cafile=str(access.ca) if access.ca else None)
        if access.security == "tls":
            relay: smtplib.SMTP = smtplib.SMTP_SSL(access.host, access.port, timeout=SEND_TIMEOUT, context=context)
        else:
            relay = smtplib.SMTP(access.host, access.port, timeout=SEND_TIMEOUT)
        with relay:
            if access.security == "starttls":
                relay.starttls(context=context)
            if access.user and access.password_file is not None:
                relay.login(access.user, access.password_file.read_text("utf-8").strip())
            relay.send_message(message)


@dataclass(frozen=True, slots=True)
class WebhookAccess:
    """Where the POST goes and which file holds the shared key."""

    url: str
    secret_file: Path
    ca: Path | None


def signature(secret: bytes, at: int, body: bytes) -> str:
    """Return the value of `X-Sekisho-Signature` for `body` sent at `at` (seconds since the epoch)."""
    digest = hmac.new(secret, b"%d.%b" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class WebhookChannel:
    """Alerts by signed HTTP POST."""

    name = "webhook"

    def __init__(self, access: WebhookAccess, http: aiohttp.ClientSession, clock: Callable[[], float]) -> None:
        self._access = access
        self._http = http
        self._clock = clock

    async def send(self, alert: Alert) -> None:
        """POST the alert; anything but 2xx raises `ChannelFault`. Redirects are not followed."""
        body = orjson.dumps(
            {"kind": alert.kind, "key": alert.key, "at": alert.at, "title": alert.title, "text": alert.text,
             "event_id": alert.event_id}
        )  # fmt: skip
        try:
            secret = self._access.secret_file.read_bytes().strip()
            context = ssl.create_default_context(cafile=str(self._access.ca) if self._access.ca else None)
            async with self._http.post(
                self._access.url,
                data=body,
                headers={
                    "Content-Type": "application/json",
                    "X-Sekisho-Signature": signature(secret, int(self._clock()), body),
                },
                ssl=context,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=SEND_TIMEOUT),
            ) as answer:
                if answer.status // 100 != SUCCESS:
                    raise ChannelFault(f"the webhook answered {answer.status}")
        except TimeoutError:
            raise ChannelFault(f"the webhook did not answer in {SEND_TIMEOUT:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ChannelFault(f"the webhook cannot be reached: {type(error).__name__}") from None
