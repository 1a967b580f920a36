"""What browsers and devices are shown: certificates that match their keys, cover the portal, and last for a while."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from gateway.doctor_parts.finding import Finding, Told, fault, good, note
from gateway.edge.authorities import read_authority
from gateway.edge.server_certificates import CertificateFaults, CredentialFiles
from gateway.entrances import credential_files
from gateway.posture.crl import CrlFaults, most_bytes, read_crl
from gateway.settings import Settings
from gateway.settings_parts.listeners import ClientCrl

SOON = 21  # days: an order for a certificate takes its time
_DAY = 86_400.0
_LATE = 0.1  # of a list's time left: the next one should have come


def examine(settings: Settings, now: float) -> Iterator[Finding]:
    """Yield a finding for each listener's certificates and for the device authority's."""
    for name, files in credential_files(settings).items():
        yield _servers(f"certificates.{name}", files, now)
    if settings.listeners.public is not None:
        yield _authority(settings.listeners.public.client_ca, now)
        for number, listed in enumerate(settings.listeners.public.client_crls, start=1):
            yield _list(f"certificates.crl.{number}", listed, settings.listeners.public.crl_entries, now)


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


def _list(check: str, listed: ClientCrl, most: int, now: float) -> Finding:
    """What the file of a revocation list holds now; which list is in force says `sekisho devices crl ls`."""
    remedy = Told("認証局から新しい失効リストを取って置く", "get a new list from the authority and put it there")
    authority, faults = read_authority(listed.authority, checked=True)
    if authority is None:
        told = "; ".join(faults)
        return fault(check, Told(told, told), remedy)
    try:
        with listed.file.open("rb") as file:
            read = read_crl(file.read(most_bytes(most)), authority.certificate, now, most)
    except (OSError, CrlFaults) as error:
        told = f"{listed.file}: {error}"
        return fault(check, Told(told, told), remedy)
    left, ends = read.next_update - now, f"{datetime.fromtimestamp(read.next_update, UTC):%F %T}Z"
    if left <= 0:
        does = Told("証明書を拒んでいます", "its certificates are refused")
        if listed.when_stale == "warn":
            does = Told("証明書は確かめずに通しています", "its certificates are taken unchecked")
        found = Told(f"{authority.name}: {ends} に切れました。{does.ja}", f"{authority.name}: ended {ends}; {does.en}")
        return fault(check, found, remedy)
    if left < _LATE * (read.next_update - read.this_update):
        return note(check, Told(f"{authority.name}: {ends} に切れます", f"{authority.name}: ends {ends}"), remedy)
    return good(
        check,
        f"{authority.name}: {read.entries} 件、{ends} まで",
        f"{authority.name}: {read.entries} entries, until {ends}",
    )


def _lasting(check: str, until: float, now: float, remedy: Told) -> Finding:
    days = int((until - now) // _DAY)
    if days < 0:
        ended = datetime.fromtimestamp(until, UTC)
        return fault(check, Told(f"{ended:%Y-%m-%d} に切れました", f"expired on {ended:%Y-%m-%d}"), remedy)
    if days < SOON:
        return note(check, Told(f"あと {days} 日で切れます", f"expires in {days} days"), remedy)
    return good(check, f"有効(あと {days} 日)", f"valid for {days} days")
