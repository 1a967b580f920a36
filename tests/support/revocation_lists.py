"""Authorities that are not ours, what they issue, and their revocation lists, made by `cryptography`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.certificates import Authority as Issuing
from gateway.certificates import Issued
from gateway.keyfiles import private_pem

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
DAY = 86_400.0
LATER = 7 * DAY


def moment(seconds: float) -> datetime:
    """The time as certificates tell it."""
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)


def authority(folder: Path, name: str, now: float) -> Issuing:
    """An authority of devices, its certificate as `ca.pem` and its key as `ca.key` in `folder`."""
    made = issuing(name, now)
    folder.mkdir(parents=True)
    (folder / "ca.pem").write_bytes(made.pem)
    (folder / "ca.key").write_bytes(private_pem(made.key))
    return made


def issuing(name: str, now: float) -> Issuing:
    """An authority that could issue certificates of devices."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return Issuing(plain_authority(key, name, now, extensions=[named]), key)


def plain_authority(
    key: Key,
    name: str,
    now: float,
    *,
    extensions: Iterable[x509.ExtensionType] = (),
    issuer: tuple[str, Key] | None = None,
) -> x509.Certificate:
    """A certificate of an authority with any key; its own signature unless `issuer` (name, key) says otherwise."""
    above, signing = issuer or (name, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(common_name(above))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(now - DAY))
        .not_valid_after(moment(now + 300 * DAY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signing, _digest(signing))


def common_name(name: str) -> x509.Name:
    """A name of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def issue(by: Issuing, uuid: str, now: float, serial: int = 0) -> Issued:
    """A client certificate for `uuid`, with a number of one's choice."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(common_name(uuid))
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(moment(now - DAY))
        .not_valid_after(moment(now + 90 * DAY))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(by.key, hashes.SHA256())
    )
    return Issued(certificate.public_bytes(Encoding.PEM), private_pem(key), b"")


def number_of(issued: Issued) -> int:
    """The serial number of a certificate."""
    return x509.load_pem_x509_certificate(issued.certificate).serial_number


def revocation_list(
    certificate: x509.Certificate,
    key: Key,
    serials: Iterable[int] | Mapping[int, Iterable[tuple[x509.ExtensionType, bool]]],
    *,
    number: int | None = 1,
    this_update: float,
    next_update: float,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    pss: bool = False,
) -> x509.CertificateRevocationList:
    """A list of `certificate`'s authority; `serials` may map a number to the extensions of its entry."""
    entries = serials if isinstance(serials, Mapping) else dict.fromkeys(serials, ())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(moment(this_update))
        .next_update(moment(next_update))
    )
    for serial, entry_extensions in entries.items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(this_update))
        for value, critical in entry_extensions:
            entry = entry.add_extension(value, critical=critical)
        builder = builder.add_revoked_certificate(entry.build())
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH) if pss else None
    return builder.sign(key, _digest(key), rsa_padding=scheme)


def _digest(key: Key) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def placed(path: Path, crl: x509.CertificateRevocationList, encoding: Encoding = Encoding.DER) -> None:
    """Put a list where it is looked for, whole at once, as a careful cron job does."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(crl.public_bytes(encoding))
    fresh.rename(path)


class Prefecture:
    """An authority of others in `folder`/prefecture, trusted beside our own; its list lies where the settings say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = authority(folder / "prefecture", "県の認証局", time.time())
        self.file = folder / "prefecture.crl"
        self.number = 0

    def settings(self) -> dict[str, str]:
        """Variables for an installation that takes its list."""
        lists = [{"authority": str(self.folder / "prefecture" / "ca.pem"), "file": str(self.file)}]
        return {
            "SEKISHO_LISTENERS__PUBLIC__CLIENT_CA": str(self.folder / "both.pem"),
            "SEKISHO_LISTENERS__PUBLIC__CLIENT_CRLS": orjson.dumps(lists).decode(),
        }

    def trust(self, root: Path) -> None:
        """Have the installation in `root` trust it, beside its own authority."""
        (self.folder / "both.pem").write_bytes((root / "device-ca" / "ca.pem").read_bytes() + self.made.pem)

    def publish(self, *serials: int, number: int | None = None, since: float = -60, until: float = LATER) -> None:
        """Place a list that names these; PEM and DER take turns."""
        self.number = self.number + 1 if number is None else number
        now = time.time()
        crl = revocation_list(
            self.made.certificate, self.made.key, serials, number=self.number, this_update=now + since,
            next_update=now + until,
        )  # fmt: skip
        placed(self.file, crl, Encoding.PEM if self.number % 2 else Encoding.DER)
