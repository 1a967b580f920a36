"""What browsers and devices are shown: certificates that match their keys, cover the portal, and last for a while."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from gateway.doctor_parts.finding import Finding, Told, fault, good, note
from gateway.edge.server_certificates import CertificateFaults, CredentialFiles
from gateway.entrances import credential_files
from gateway.settings import Settings

SOON = 21  # days: an order for a certificate takes its time
_DAY = 86_400.0


def examine(settings: Settings, now: float) -> Iterator[Finding]:
    """Yield a finding for each listener's certificates and for the device authority's."""
    for name, files in credential_files(settings).items():
        yield _servers(f"certificates.{name}", files, now)
    if settings.listeners.public is not None:
        yield _authority(settings.listeners.public.client_ca, now)


def _servers(check: str, files: CredentialFiles, now: float) -> Finding:
    replace = Told("証明書を取り直して置く", "get a new certificate and put it there")
    try:
        served = files.read(now).certificates
    except CertificateFaults as error:
        told = "; ".join(error.faults)
        return fault(check, Told(told, told), replace)
    return _lasting(check, min(each.not_after for each in served), now, replace)


def _authority(path: Path, now: float) -> Finding:
    check = "certificates.devices"
    remedy = Told(
        "端末の認証局を新しくし、端末証明書を配り直す", "make a new device authority and hand out certificates"
    )
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        return fault(check, Told(f"読めません: {error}", f"cannot be read: {error}"), remedy)
    if min(each.not_valid_before_utc for each in certificates).timestamp() > now:
        return fault(check, Told("まだ有効ではありません", "not valid yet"), remedy)
    return _lasting(check, min(each.not_valid_after_utc.timestamp() for each in certificates), now, remedy)


def _lasting(check: str, until: float, now: float, remedy: Told) -> Finding:
    days = int((until - now) // _DAY)
    if days < 0:
        ended = datetime.fromtimestamp(until, UTC)
        return fault(check, Told(f"{ended:%Y-%m-%d} に切れました", f"expired on {ended:%Y-%m-%d}"), remedy)
    if days < SOON:
        return note(check, Told(f"あと {days} 日で切れます", f"expires in {days} days"), remedy)
    return good(check, f"有効(あと {days} 日)", f"valid for {days} days")
