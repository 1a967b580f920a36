"""Who issues devices' certificates: the authorities that are known, and which of them issued one that was shown.

An authority is its key, not its name: serial numbers and revocation lists belong to the key that signs them, and a
renewed authority (AD CS: "CA (1)") keeps its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from gateway.gate.request import ClientCertificate

_REMEMBERED: Final = 10_000  # certificates
_LONGEST_SERIAL: Final = 160  # bits: RFC 5280 §4.1.2.2, at most 20 octets
_ONE: Final = "expected one certificate of an authority in PEM (RFC 7468)"


def authority_id(certificate: x509.Certificate) -> str:
    """Return the hex SHA-256 of an authority's public key (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7)."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority. `checked`: its certificates count only while a list of it is good (settings `client_crls`)."""

    certificate: x509.Certificate
    checked: bool = False

    @property
    def id(self) -> str:
        """By what its list and its certificates are found."""
        return authority_id(self.certificate)

    @property
    def name(self) -> str:
        """What people call it: its common name, else its whole name (RFC 4514)."""
        names = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if len(names) == 1 else self.certificate.subject.rfc4514_string()


def read_authority(path: Path, checked: bool) -> tuple[Authority | None, list[str]]:
    """Return the authority of a file, and what is wrong with it. Blocks."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return None, [f"{path}: cannot be read ({error.strerror})"]
    except ValueError:
        return None, [f"{path}: not a certificate, {_ONE}"]
    if len(found) != 1:
        return None, [f"{path}: got {len(found)} certificates, {_ONE}"]
    return Authority(found[0], checked), []


def united(trusted: Iterable[x509.Certificate], listed: Iterable[Authority]) -> tuple[Authority, ...]:
    """Return every authority that is known, each once; what is said of one in `listed` stands."""
    known = {each.id: each for each in listed}
    for certificate in trusted:
        known.setdefault(authority_id(certificate), Authority(certificate))
    return tuple(known.values())


class CertificateReader:
    """Reads the certificates that clients show, each once: finding the issuer is worth a signature check."""

    def __init__(self, authorities: tuple[Authority, ...]) -> None:
        self._authorities = authorities
        self._strict = any(each.checked for each in authorities)
        self._known: dict[bytes, ClientCertificate] = {}

    def read(self, der: bytes) -> ClientCertificate:
        """Return what we use of a client certificate whose chain the TLS library verified; raises ValueError.

        The direct issuer may be an authority that the client brought along and that nobody named: where lists are asked
        for, its certificates count as little as those of an authority without a list.
        """
        known = self._known.get(der)
        if known is not None:
            return known
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(names) != 1:
            raise ValueError("client certificate without exactly one common name")
        number = certificate.serial_number
        if number <= 0 or number.bit_length() > _LONGEST_SERIAL:
            raise ValueError("client certificate with a serial number outside RFC 5280 §4.1.2.2")
        issuer = next((each for each in self._authorities if _issued(certificate, each.certificate)), None)
        read = ClientCertificate(
            uuid=str(names[0].value).lower(),
            serial=f"{number:x}",
            thumbprint=hashlib.sha256(der).hexdigest(),
            not_after=certificate.not_valid_after_utc.timestamp(),
            authority="" if issuer is None else issuer.id,
            checked=self._strict if issuer is None else issuer.checked,
        )
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[der] = read
        return read


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether this very key signed it. The names were the TLS library's to compare: two spellings may be the same."""
    key, signature, signed = authority.public_key(), certificate.signature, certificate.tbs_certificate_bytes
    try:
        scheme, digest = certificate.signature_algorithm_parameters, certificate.signature_hash_algorithm
        if isinstance(key, rsa.RSAPublicKey) and isinstance(scheme, padding.AsymmetricPadding) and digest is not None:
            key.verify(signature, signed, scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(scheme, ec.ECDSA):
            key.verify(signature, signed, scheme)
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) and scheme is None:
            key.verify(signature, signed)
        else:
            return False
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
