"""The two certificate authorities of an installation, and what they issue.

The TLS authority exists for trials: it can only vouch for the installation's own domain (RFC 5280 §4.2.1.10) and for
30 days at most, so that trusting it in a browser risks nothing else. The device authority names managed devices
towards the `public` listener and nothing outside of it. Times are seconds since the epoch.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.keyfiles import private_pem

DEMO_CA_DAYS = 30  # longest life of the TLS authority and of what it signs
DEVICE_CA_DAYS = 3650
DEVICE_DAYS = 397  # longest life of a device certificate
_BACKDATED = timedelta(hours=1)  # devices' clocks run late
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Authority(NamedTuple):
    """A certificate authority in use."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


class Issued(NamedTuple):
    """An end certificate with its key, both PEM; `bundle` is PKCS #12 for import into a device (else empty)."""

    certificate: bytes
    key: bytes
    bundle: bytes


def create_tls_authority(domain: str, now: float, days: int = DEMO_CA_DAYS) -> Authority:
    """Make an authority that can vouch for `domain` and the names below it only, for at most 30 days."""
    if not 0 < days <= DEMO_CA_DAYS:
        raise ValueError(f"days: got {days}, expected 1 to {DEMO_CA_DAYS}")
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    constraints = x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(domain)],
        excluded_subtrees=[x509.IPAddress(network) for network in everything],
    )
    return _authority(f"Sekisho TLS for {domain}"[:64], now, days, ExtendedKeyUsageOID.SERVER_AUTH, constraints)


def create_device_authority(organisation: str, now: float, days: int = DEVICE_CA_DAYS) -> Authority:
    """Make the authority whose certificates name devices."""
    return _authority(f"Sekisho devices {organisation}"[:64], now, days, ExtendedKeyUsageOID.CLIENT_AUTH, None)


def issue_server_certificate(authority: Authority, names: tuple[str, ...], now: float, days: int) -> Issued:
    """Issue a certificate for `names` (a wildcard label is allowed), never outliving the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = _builder(subject, authority.certificate.subject, key.public_key(), now, days)
    certificate = _leaf(builder, alternatives, ExtendedKeyUsageOID.SERVER_AUTH, authority)
    return Issued(certificate.public_bytes(Encoding.PEM), private_pem(key), b"")


def issue_device_certificate(ca_dir: Path, uuid: str, days: int, now: float, password: str = "") -> Issued:
    """Issue the certificate of one device from the authority in `ca_dir` (ca.pem, ca.key).

    `uuid` becomes the common name and a `urn:uuid:` alternative name. `password` protects the PKCS #12 bundle.
    Raises ValueError for a malformed uuid or a life outside 1 to 397 days, OSError if the authority cannot be read.
    """
    if not _UUID.fullmatch(uuid):
        raise ValueError(f"uuid: got {uuid!r}, expected a lower-case UUID (RFC 9562 §4)")
    if not 0 < days <= DEVICE_DAYS:
        raise ValueError(f"days: got {days}, expected 1 to {DEVICE_DAYS}")
    authority = load_authority(ca_dir)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uuid)])
    alternatives = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:uuid:{uuid}")])
    builder = _builder(subject, authority.certificate.subject, key.public_key(), now, days)
    certificate = _leaf(builder, alternatives, ExtendedKeyUsageOID.CLIENT_AUTH, authority)
    protection: KeySerializationEncryption = NoEncryption()
    if password:
        protection = BestAvailableEncryption(password.encode())
    bundle = pkcs12.serialize_key_and_certificates(uuid.encode(), key, certificate, None, protection)
    return Issued(certificate.public_bytes(Encoding.PEM), private_pem(key), bundle)


def load_authority(folder: Path) -> Authority:
    """Read ca.pem and ca.key; raises OSError or ValueError, the latter without citing the key."""
    certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    key = load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{folder / 'ca.key'}: expected an elliptic-curve key")  # noqa: TRY004  # the file is at fault
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{folder}: ca.key does not belong to ca.pem")
    return Authority(certificate, key)


def _authority(
    name: str, now: float, days: int, usage: x509.ObjectIdentifier, constraints: x509.NameConstraints | None
) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, days: int
) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(now, UTC).replace(microsecond=0) - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _leaf(
    builder: x509.CertificateBuilder,
    alternatives: x509.SubjectAlternativeName,
    usage: x509.ObjectIdentifier,
    authority: Authority,
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        builder.add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    if certificate.not_valid_after_utc > authority.certificate.not_valid_after_utc:
        raise ValueError("days: the certificate would outlive its authority")
    return certificate


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
