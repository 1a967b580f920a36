"""A server's certificates as files say them: read whole, held against each other, and every fault told at once.

What was checked is what is served: the bytes of a pair are read once and stay together, so that a certificate can
never meet another's key, however the files change meanwhile. Names are DNS names of the certificate's alternative
names (RFC 9525 §6.3); a wildcard stands for exactly one left-most label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.edge.authorities import Authority, read_authority, united

_LEAST_RSA: Final = 2048  # bits (CA/Browser Forum, Baseline Requirements §6.1.5)
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True, slots=True)
class Pair:
    """Where one certificate (PEM, with its chain) and its private key (PEM, not encrypted) lie."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ListedAuthority:
    """Where the certificate (PEM) of an authority with a revocation list lies; `checked` as in `Authority`."""

    certificate: Path
    checked: bool


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """One certificate that may be served, with its chain and its key. Times in seconds since the epoch."""

    names: tuple[str, ...]  # lower case
    serial: str  # lower-case hex
    not_after: float
    pem: bytes = field(repr=False)  # certificate, chain and key

    def covers(self, host: str) -> bool:
        """Tell whether a client that asked for `host` (lower case) accepts this certificate's names."""
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names


class CertificateFaults(Exception):
    """Certificates that cannot be served; `faults` names every reason: the file, what was found, what was expected."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one listener shows and believes, read and checked."""

    certificates: tuple[ServerCertificate, ...]  # the first is shown where no name matches
    client_ca: bytes | None  # PEM: who issues devices' certificates; None = none is asked for
    authorities: tuple[Authority, ...] = ()  # these, and those below them that have a revocation list


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where a listener's credentials lie."""

    pairs: tuple[Pair, ...]  # the default first
    client_ca: Path | None
    hosts: tuple[str, ...]  # names that one of the certificates has to cover
    listed: tuple[ListedAuthority, ...] = ()  # of whom there is a revocation list

    def paths(self) -> tuple[Path, ...]:
        """Return every file."""
        own = tuple(path for pair in self.pairs for path in (pair.certificate, pair.key))
        return own if self.client_ca is None else (*own, self.client_ca, *(each.certificate for each in self.listed))

    def read(self, now: float) -> Credentials:
        """Read them all; raises CertificateFaults with every fault of every file. Blocks: never call it in a loop.

        Neither keys nor what a key file holds are ever part of a fault.
        """
        client_ca: bytes | None = None
        faults: list[str] = []
        known: tuple[Authority, ...] = ()
        if self.client_ca is not None:
            trusted, known, faults = _authorities(self.client_ca, self.listed)
            client_ca = b"".join(each.public_bytes(Encoding.PEM) for each in trusted)
        try:
            certificates = _certificates(self.pairs, self.hosts, now)
        except CertificateFaults as error:
            raise CertificateFaults((*error.faults, *faults)) from None
        if faults:
            raise CertificateFaults(faults)
        return Credentials(certificates, client_ca, known)


def _authorities(
    client_ca: Path, files: Iterable[ListedAuthority]
) -> tuple[list[x509.Certificate], tuple[Authority, ...], list[str]]:
    """Return who is trusted, every authority that is known, and all that is wrong with their files."""
    trusted, faults = _chain(client_ca)
    listed: dict[str, Authority] = {}
    for file in files:
        authority, wrong = read_authority(file.certificate, file.checked)
        faults += wrong
        if authority is not None and listed.setdefault(authority.id, authority) is not authority:
            faults.append(f"{file.certificate}: an authority that has a list already, expected each authority once")
    return trusted, united(trusted, listed.values()), faults


def _certificates(pairs: Iterable[Pair], hosts: Iterable[str], now: float) -> tuple[ServerCertificate, ...]:
    faults: list[str] = []
    found: list[ServerCertificate] = []
    for pair in pairs:
        certificate, wrong = _read(pair, now)
        faults += wrong
        if certificate is not None:
            found.append(certificate)
    if not faults:  # a pair that cannot be read may well be the one for the host
        names = ", ".join(sorted({name for each in found for name in each.names}))
        faults += [
            f"{host}: covered by no certificate, expected one among {names}"
            for host in hosts
            if not any(each.covers(host) for each in found)
        ]
    if faults:
        raise CertificateFaults(faults)
    return tuple(found)


def _read(pair: Pair, now: float) -> tuple[ServerCertificate | None, list[str]]:
    """Return what a pair holds and all that is wrong with it."""
    chain, faults = _chain(pair.certificate)
    key, wrong = _key(pair.key)
    faults += wrong
    if not chain:
        return None, faults
    leaf = chain[0]
    names = _names(leaf)
    faults += [f"{pair.certificate}: {fault}" for fault in _leaf_faults(leaf, names, now)]
    faults += [
        f"{pair.certificate}: certificate {number + 1} did not issue the one before it, expected the chain in order"
        for number, (below, above) in enumerate(pairwise(chain), start=1)
        if below.issuer != above.subject
    ]
    if key is None:
        return None, faults
    if key.public_key() != leaf.public_key():
        faults.append(f"{pair.key}: got another certificate's key, expected the key of {pair.certificate}")
    serial, until = f"{leaf.serial_number:x}", leaf.not_valid_after_utc.timestamp()
    parts = [each.public_bytes(Encoding.PEM) for each in chain]
    parts.append(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ServerCertificate(names, serial, until, b"".join(parts)), faults


def _chain(path: Path) -> tuple[list[x509.Certificate], list[str]]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes()), []
    except OSError as error:
        return [], [f"{path}: cannot be read ({error.strerror})"]
    except ValueError:
        return [], [f"{path}: not a certificate, expected PEM (RFC 7468): the certificate, then its chain"]


def _key(path: Path) -> tuple[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None, list[str]]:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        return None, [f"{path}: cannot be read ({error.strerror})"]
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        return None, [f"{path}: not a usable key, expected a private key in PEM without a password"]
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _LEAST_RSA:
        return key, []
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key, []
    return None, [f"{path}: a weak or unusual key, expected RSA of {_LEAST_RSA} bits or more, or P-256 to P-521"]


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(name.lower() for name in alternatives.get_values_for_type(x509.DNSName))


def _leaf_faults(leaf: x509.Certificate, names: tuple[str, ...], now: float) -> list[str]:
    faults = [] if names else ["no DNS name among its alternative names, expected at least one"]
    moment = datetime.fromtimestamp(now, UTC)
    if moment > leaf.not_valid_after_utc:
        faults.append(f"expired at {leaf.not_valid_after_utc.isoformat()}, expected one that is valid now")
    if moment < leaf.not_valid_before_utc:
        faults.append(f"not valid before {leaf.not_valid_before_utc.isoformat()}, expected one that is valid now")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return faults
    except ValueError:
        return [*faults, "extensions that cannot be read"]
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage):
        faults.append("not made for servers, expected the extended key usage serverAuth (RFC 5280 §4.2.1.12)")
    return faults
