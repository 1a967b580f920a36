"""One certificate revocation list (RFC 5280 §5): what it says, once all that makes it worth believing is verified.

Complete lists of the authority itself only. A delta list, an indirect one, or one for a part of the certificates or of
the reasons would leave certificates out that are revoked: those are refused by name (RFC 5280 §6.3.3 (b), (c)).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.state.serials import SERIAL_BYTES

ENTRY_BYTES: Final = 128  # of one entry at most: 20 of a number, a date, a reason; lists in use have 35 to 60
HEAD_BYTES: Final = 65_536
_NUMBER_BITS: Final = 160
_SKEW: Final = 300.0  # seconds that the authority's clock may be ahead of ours
_PEM: Final = b"-----BEGIN X509 CRL-----"
_KNOWN: Final = (x509.CRLNumber, x509.AuthorityKeyIdentifier, x509.IssuingDistributionPoint, x509.DeltaCRLIndicator)
_KNOWN_OF_ENTRIES: Final = (x509.CRLReason, x509.InvalidityDate)


class CrlFaults(Exception):
    """A list that cannot be used; `faults` names every reason: what was found, what was expected."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class ReadCrl:
    """A verified list. Times in seconds since the epoch."""

    number: str  # decimal digits, "" = it has none
    this_update: float
    next_update: float
    entries: int
    digest: str  # hex SHA-256 of its DER form
    serials: tuple[bytes, ...] = field(repr=False)  # 20 octets each, in the order of the list


def most_bytes(entries: int) -> int:
    """Return how large a file with so many entries can be; PEM takes a third more than DER."""
    return (HEAD_BYTES + entries * ENTRY_BYTES) * 4 // 3


def read_crl(data: bytes, authority: x509.Certificate, now: float, most: int) -> ReadCrl:
    """Verify a list (PEM or DER) that `authority` is to have signed; raises CrlFaults with every fault.

    `most` entries at most. One that is past its nextUpdate is read all the same: what it revokes is revoked, and
    whoever asks for a good list sees its time. Blocks, for seconds where there are a million.
    """
    try:
        crl = x509.load_pem_x509_crl(data) if _PEM in data else x509.load_der_x509_crl(data)
        issuer, count = crl.issuer, len(crl)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CrlFaults(["not a certificate revocation list, expected one in PEM or DER (RFC 5280 §5.1)"]) from None
    faults = [*_signature_faults(crl, issuer, authority), *_time_faults(crl, now)]
    number, wrong = _extensions(crl, authority)
    faults += wrong
    if count > most:
        faults.append(f"got {count} entries, expected at most {most} (settings: listeners.public.crl_entries)")
    if faults:
        raise CrlFaults(faults)
    serials = _serials(crl)
    until = 0.0 if crl.next_update_utc is None else crl.next_update_utc.timestamp()  # its absence was a fault
    digest = hashlib.sha256(crl.public_bytes(Encoding.DER)).hexdigest()
    return ReadCrl(number, crl.last_update_utc.timestamp(), until, count, digest, serials)


def _signature_faults(
    crl: x509.CertificateRevocationList, issuer: x509.Name, authority: x509.Certificate
) -> Iterator[str]:
    if issuer != authority.subject:
        yield f"got a list issued by {issuer.rfc4514_string()}, expected {authority.subject.rfc4514_string()}"
        return
    try:
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        usage = None
    if usage is not None and not usage.crl_sign:
        yield "got a list of an authority whose certificate is not for lists, expected key usage cRLSign (§6.3.3 (f))"
    try:
        weak = isinstance(crl.signature_hash_algorithm, MD5 | SHA1)
    except UnsupportedAlgorithm:
        oid = crl.signature_algorithm_oid.dotted_string
        yield f"got the signature algorithm {oid}, expected RSA, EC or EdDSA"
        return
    if weak:
        yield "got a signature over MD5 or SHA-1, expected SHA-256 or better"
    key = authority.public_key()
    if not isinstance(
        key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
    ):
        yield "got an authority with an unusual key, expected RSA, EC or EdDSA"
        return
    try:
        good = crl.is_signature_valid(key)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        good = False
    if not good:
        yield "got a signature of another key, expected one by the authority's (altered, or of its key before or after)"


def _time_faults(crl: x509.CertificateRevocationList, now: float) -> Iterator[str]:
    begun, until = crl.last_update_utc, crl.next_update_utc
    if begun.timestamp() > now + _SKEW:
        yield f"got thisUpdate {_at(begun)}, expected none in the future (or the clock of this machine is behind)"
    if until is None:
        yield "got no nextUpdate, expected one (RFC 5280 §5.1.2.5)"
    elif until <= begun:
        yield f"got nextUpdate {_at(until)}, expected one after thisUpdate {_at(begun)}"


def _extensions(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> tuple[str, list[str]]:
    """Return the CRL number ("" = none), and why the extensions forbid to use the list."""
    try:
        extensions = list(crl.extensions)
    except Exception:  # noqa: BLE001  # what stands there is anybody's; the library has several classes for it
        return "", ["got extensions that cannot be read, expected those of RFC 5280 §5.2"]
    number, faults = "", list[str]()
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = _told(value.crl_number)
            if value.crl_number.bit_length() > _NUMBER_BITS:
                faults.append(f"got a CRL number {number}, expected one of at most {_NUMBER_BITS} bits (§5.2.3)")
        elif isinstance(value, x509.DeltaCRLIndicator):
            since = _told(value.crl_number)
            faults.append(f"got a delta list (of what changed since CRL number {since}), expected a complete list")
        elif isinstance(value, x509.IssuingDistributionPoint):
            faults += _scope_faults(value)
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            faults += _key_faults(value, authority)
        elif extension.critical and not isinstance(value, _KNOWN):
            faults.append(
                f"got the critical extension {extension.oid.dotted_string}, expected none that is unknown (§5.2)"
            )
    return number, faults


def _told(number: int) -> str:
    """Spell a number, but for one so long that Python would not."""
    bits = number.bit_length()
    return str(number) if bits <= _NUMBER_BITS else f"of {bits} bits"


def _scope_faults(scope: x509.IssuingDistributionPoint) -> Iterator[str]:
    if scope.indirect_crl:
        yield "got an indirect list (of several issuers), expected the authority's own"
    if scope.only_contains_ca_certs or scope.only_contains_attribute_certs:
        yield "got a list of authorities' or attribute certificates only, expected one of all certificates"
    if scope.only_some_reasons is not None:
        yield "got a list for some reasons only, expected one for all reasons"
    if scope.full_name is not None or scope.relative_name is not None:
        yield (
            "got a list for one distribution point, expected one for all certificates"
            " (AD CS: leave `Include in the IDP extension of issued CRLs` off)"
        )


def _key_faults(named: x509.AuthorityKeyIdentifier, authority: x509.Certificate) -> Iterator[str]:
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        return
    if named.key_identifier is not None and named.key_identifier != own:
        yield f"got a list by the key {named.key_identifier.hex()}, expected {own.hex()}, the authority's"


def _serials(crl: x509.CertificateRevocationList) -> tuple[bytes, ...]:
    """Return every number on the list; raises CrlFaults where an entry cannot be taken as it stands."""
    found: list[bytes] = []
    for at, entry in enumerate(crl, start=1):
        try:
            extensions = list(entry.extensions)
        except Exception:  # noqa: BLE001  # as with those of the list
            raise CrlFaults([f"entry {at}: got extensions that cannot be read"]) from None
        for extension in extensions:
            value = extension.value
            if isinstance(value, x509.CertificateIssuer):
                raise CrlFaults([f"entry {at}: got a certificate of another issuer (an indirect list), expected none"])
            if isinstance(value, x509.CRLReason) and value.reason is x509.ReasonFlags.remove_from_crl:
                raise CrlFaults([f"entry {at}: got removeFromCRL, which delta lists only may have (§5.3.1)"])
            if extension.critical and not isinstance(value, _KNOWN_OF_ENTRIES):
                oid = extension.oid.dotted_string
                raise CrlFaults([f"entry {at}: got the critical extension {oid}, expected none that is unknown (§5.3)"])
        number = entry.serial_number
        if number > 0 and number.bit_length() <= SERIAL_BYTES * 8:  # no other is taken in a handshake
            found.append(number.to_bytes(SERIAL_BYTES, "big"))
    return tuple(found)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
