"""What browsers and devices are shown: certificates that match their keys, cover the portal, and last for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.doctor_parts.finding import Finding, Told, fault, good, note
from gateway.settings import Settings

SOON = 21  # days: an order for a certificate takes its time
_DAY = 86_400.0


def examine(settings: Settings, now: float) -> Iterator[Finding]:
    """Yield a finding for each listener's certificate and for the device authority's."""
    listeners = settings.listeners
    for name, listener in (("public", listeners.public), ("help", listeners.help)):
        if listener is not None:
            yield _server(f"certificates.{name}", listener.certificate, listener.key, settings.portal.host, now)
    if listeners.public is not None:
        yield _authority(listeners.public.client_ca, now)


def _server(check: str, path: Path, key_path: Path, host: str, now: float) -> Finding:
    replace = Told("証明書を取り直して置く", "get a new certificate and put it there")
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        return fault(check, Told(f"読めません: {error}", f"cannot be read: {error}"), replace)
    leaf = chain[0]
    if leaf.public_key() != key.public_key():
        return fault(
            check, Told(f"{path} と {key_path} は対になっていません", f"{key_path} is not the key of {path}"), replace
        )
    if not covers(leaf, host):
        return fault(check, Told(f"{path} は {host} の証明書ではありません", f"{path} is not for {host}"), replace)
    return _lasting(check, leaf, now, replace)


def _authority(path: Path, now: float) -> Finding:
    check = "certificates.devices"
    remedy = Told(
        "端末の認証局を新しくし、端末証明書を配り直す", "make a new device authority and hand out certificates"
    )
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        return fault(check, Told(f"読めません: {error}", f"cannot be read: {error}"), remedy)
    last = min(certificates, key=lambda each: each.not_valid_after_utc)
    return _lasting(check, last, now, remedy)


def _lasting(check: str, certificate: x509.Certificate, now: float, remedy: Told) -> Finding:
    ends = certificate.not_valid_after_utc
    days = int((ends.timestamp() - now) // _DAY)
    if certificate.not_valid_before_utc.timestamp() > now:
        return fault(check, Told("まだ有効ではありません", "not valid yet"), remedy)
    if days < 0:
        return fault(check, Told(f"{ends:%Y-%m-%d} に切れました", f"expired on {ends:%Y-%m-%d}"), remedy)
    if days < SOON:
        return note(check, Told(f"あと {days} 日で切れます", f"expires in {days} days"), remedy)
    return good(check, f"有効(あと {days} 日)", f"valid for {days} days")


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether a browser takes the certificate for `host` (RFC 6125 §6.4: a wildcard is the whole first label)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    dns = {each.lower() for each in names.get_values_for_type(x509.DNSName)}
    return host in dns or "*." + host.partition(".")[2] in dns
