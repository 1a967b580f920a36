"""Services of others: whether they are reached, prove who they are, and have the same time as we do."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.doctor_parts.finding import Finding, Told, fault, good, note
from gateway.settings import Settings

PATIENCE = 5.0  # seconds for each
APART = 60.0  # seconds by which clocks may differ


class Service(NamedTuple):
    """One address that settings name."""

    check: str
    url: str  # https://…, http://… (this machine only), smtp://host:port
    ca: Path | None


def named(settings: Settings) -> Iterator[Service]:
    """Yield every service that these settings name."""
    if (mdm := settings.mdm) is not None:
        yield Service("services.mdm", str(mdm.base_url), mdm.ca)
        yield Service("services.mdm-token", str(mdm.token_url), mdm.ca)
    if (cluster := settings.elasticsearch) is not None:
        yield Service("services.elasticsearch", str(cluster.url), cluster.ca)
    if (witness := settings.witness) is not None:
        for place in witness.places:
            yield Service("services.witness", place.partition(" ")[0], witness.ca)
    if (alerts := settings.alerts) is not None:
        if alerts.mail is not None:
            yield Service("services.mail", f"smtp://{alerts.mail.host}:{alerts.mail.port}", alerts.mail.ca)
        if alerts.webhook is not None:
            yield Service("services.webhook", str(alerts.webhook.url), alerts.webhook.ca)


def examine(settings: Settings, now: float) -> Iterator[Finding]:
    """Yield a finding for each service; no credential is shown to any of them."""
    for service in named(settings):
        yield reached(service, now)


def reached(service: Service, now: float) -> Finding:
    """Connect, prove the name, and compare the time that an answer carries (RFC 9110 §6.6.1)."""
    remedy = Told("アドレス、認証局、ファイアウォールを確かめる", "check the address, the authority and the firewall")
    try:
        date = _asked(service)
    except (OSError, http.client.HTTPException) as error:
        said = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
        return fault(service.check, Told(f"{service.url}: {said}", f"{service.url}: {said}"), remedy)
    apart = 0.0 if date is None else _seconds(date) - now
    if abs(apart) > APART:
        return note(
            service.check,
            Told(
                f"{service.url}: 時計が {apart:+.0f} 秒ちがいます",
                f"{service.url}: its clock differs by {apart:+.0f} s",
            ),
            Told("どちらの時計が正しいか確かめる", "find out which clock is right"),
        )
    return good(service.check, f"{service.url} に届きます", f"{service.url} is reached")


def _asked(service: Service) -> str | None:
    """Return the Date of the answer, None where there is none; raises OSError, HTTPException."""
    parts = urlsplit(service.url)
    host = parts.hostname or ""
    if parts.scheme == "smtp":
        socket.create_connection((host, parts.port or 587), PATIENCE).close()
        return None
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(host, parts.port, timeout=PATIENCE)
    else:
        context = ssl.create_default_context(cafile=service.ca)
        connection = http.client.HTTPSConnection(host, parts.port, timeout=PATIENCE, context=context)
    try:
        connection.request("HEAD", parts.path or "/")
        return connection.getresponse().headers["Date"]
    finally:
        connection.close()


def _seconds(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return float("inf")
