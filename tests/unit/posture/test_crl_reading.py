"""A revocation list is believed only where all of RFC 5280 §5 and §6.3.3 that concerns it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.keyfiles import private_pem
from gateway.posture.crl import CrlFaults, most_bytes, read_crl
from gateway.state.serials import spelled
from tests.support.revocation_lists import DAY, LATER, Key, issuing, plain_authority, revocation_list

NOW = 1_800_000_000.0
CITY = issuing("市の認証局", NOW - DAY)
OTHER = issuing("県の認証局", NOW - DAY)
NAMESAKE = issuing("市の認証局", NOW - DAY)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")

# authorityCertIssuer is an x400Address
X400 = x509.UnrecognizedExtension(x509.AuthorityKeyIdentifier.oid, bytes.fromhex("3007a102a300820101"))
X400_OF_ENTRY = x509.UnrecognizedExtension(x509.CertificateIssuer.oid, bytes.fromhex("3002a300"))


def made(serials: Any = (0xAB12,), **given_: Any) -> x509.CertificateRevocationList:
    times = {"this_update": NOW - 60, "next_update": NOW + LATER}
    return revocation_list(CITY.certificate, CITY.key, serials, **{**times, **given_})


def read(crl: x509.CertificateRevocationList | bytes, most: int = 1000) -> Any:
    data = crl if isinstance(crl, bytes) else crl.public_bytes(Encoding.DER)
    return read_crl(data, CITY.certificate, NOW, most)


def point(**given_: Any) -> x509.IssuingDistributionPoint:
    values: dict[str, Any] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**{**values, **given_})


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
def test_a_good_list_says_what_it_says(encoding: Encoding) -> None:
    crl = made({1: (), 0xAB12: [(x509.CRLReason(x509.ReasonFlags.certificate_hold), False)]}, number=7)

    said = read(crl.public_bytes(encoding))

    assert (said.number, said.this_update, said.next_update, said.entries) == ("7", NOW - 60, NOW + LATER, 2)
    assert [spelled(each) for each in said.serials] == ["1", "ab12"]
    assert said.digest == read(crl).digest


@pytest.mark.parametrize("key", ["rsa", "rsa-pss", "p384", "ed25519"])
def test_lists_of_every_usual_kind_of_key(key: str) -> None:
    signing: Key = {
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()), "ed25519": ed25519.Ed25519PrivateKey.generate,
    }.get(key, lambda: rsa.generate_private_key(65_537, 2048))()  # fmt: skip
    authority = plain_authority(signing, "ほかの認証局", NOW)
    crl = revocation_list(
        authority, signing, [5], this_update=NOW - 60, next_update=NOW + LATER, pss=key == "rsa-pss"
    )  # fmt: skip
    data = bytearray(crl.public_bytes(Encoding.DER))

    assert read_crl(bytes(data), authority, NOW, 10).entries == 1
    data[-1] ^= 1
    with pytest.raises(CrlFaults, match="signature of another key"):
        read_crl(bytes(data), authority, NOW, 10)


def by(made_by: Any) -> x509.CertificateRevocationList:
    return revocation_list(
        made_by.certificate, made_by.key, [1], this_update=NOW - 60, next_update=NOW + LATER
    )  # fmt: skip


REFUSED: list[tuple[str, Callable[[], x509.CertificateRevocationList | bytes], str]] = [
    ("nothing", lambda: b"", "not a certificate revocation list, expected one in PEM or DER"),
    ("a certificate", lambda: CITY.pem, "not a certificate revocation list"),
    ("half of it", lambda: made().public_bytes(Encoding.DER)[:100], "not a certificate revocation list"),
    ("PEM of nothing", lambda: b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "not a certificate"),
    ("another authority", lambda: by(OTHER), "got a list issued by CN=県の認証局, expected CN=市の認証局"),
    ("another key of that name", lambda: by(NAMESAKE), "got a signature of another key"),
    ("from the future", lambda: made(this_update=NOW + 400), "got thisUpdate .*, expected none in the future"),
    ("delta", lambda: made(extensions=[(x509.DeltaCRLIndicator(3), True)]), "got a delta list .* CRL number 3"),
    ("indirect", lambda: made(extensions=[(point(indirect_crl=True), True)]), "got an indirect list"),
    ("of authorities", lambda: made(extensions=[(point(only_contains_ca_certs=True), True)]), "authorities'"),
    ("of attributes", lambda: made(extensions=[(point(only_contains_attribute_certs=True), True)]), "attribute"),
    ("of some reasons", lambda: made(extensions=[
        (point(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])), True)]), "for some reasons only"),
    ("of one point", lambda: made(extensions=[
        (point(full_name=[x509.UniformResourceIdentifier("http://ca.example/1.crl")]), True)]), "one distribution"),
    ("unknown and critical", lambda: made(extensions=[(UNKNOWN, True)]), "critical extension 1.3.6.1.4.1.32473.1"),
    ("entry unknown and critical", lambda: made({9: [(UNKNOWN, True)]}), "entry 1: got the critical extension"),
    ("entry of another issuer", lambda: made({9: [
        (x509.CertificateIssuer([x509.DirectoryName(OTHER.certificate.subject)]), True)]}), "of another issuer"),
    ("removeFromCRL", lambda: made({8: (), 9: [(x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)]}),
     "entry 2: got removeFromCRL"),
    ("key id of another key", lambda: made(extensions=[
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(OTHER.key.public_key()), False)]), "got a list by the key"),
    ("a number without end", lambda: made(number=1 << 16_000), "got a CRL number of 16001 bits"),
    ("a delta to a number without end", lambda: made(extensions=[(x509.DeltaCRLIndicator(1 << 16_000), True)]),
     "CRL number of 16001 bits"),
    ("a name that the library does not read", lambda: made(extensions=[(X400, False)]), "extensions that cannot"),
    ("an entry with such a name", lambda: made({9: [(X400_OF_ENTRY, False)]}), "entry 1: got extensions that"),
    ("too many", lambda: made(range(1, 1002)), "got 1001 entries, expected at most 1000"),
]  # fmt: skip


@pytest.mark.parametrize(("crl", "fault"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_list_that_cannot_be_believed_is_refused_by_name(
    crl: Callable[[], x509.CertificateRevocationList | bytes], fault: str
) -> None:
    with pytest.raises(CrlFaults, match=fault):
        read(crl())


def test_every_fault_is_told_at_once() -> None:
    crl = made(
        range(1, 12), this_update=NOW + 400, extensions=[(x509.DeltaCRLIndicator(3), True), (UNKNOWN, True)]
    )  # fmt: skip
    with pytest.raises(CrlFaults) as caught:
        read(crl, most=10)
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize("extensions", [
    [(UNKNOWN, False)], [(point(only_contains_user_certs=True), True)],
    [(x509.AuthorityKeyIdentifier.from_issuer_public_key(CITY.key.public_key()), False)],
])  # fmt: skip
def test_what_takes_nothing_away_from_a_list_is_no_obstacle(extensions: Any) -> None:
    assert read(made(extensions=extensions)).entries == 1


def test_a_list_past_its_time_still_says_who_is_revoked() -> None:
    said = read(made(this_update=NOW - 2 * DAY, next_update=NOW - DAY))
    assert (said.entries, said.next_update) == (1, NOW - DAY)


def test_an_authority_that_may_not_sign_lists() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    authority = plain_authority(key, "署名だけの認証局", NOW, extensions=[usage])
    crl = revocation_list(authority, key, [5], this_update=NOW - 60, next_update=NOW + LATER)
    with pytest.raises(CrlFaults, match="expected key usage cRLSign"):
        read_crl(crl.public_bytes(Encoding.DER), authority, NOW, 10)


@given(st.sets(st.integers(1, 2**159 - 1), max_size=40), st.binary(max_size=30), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_what_is_on_a_list_is_read_whole_and_no_changed_byte_is_believed(
    serials: set[int], noise: bytes, at: int
) -> None:
    data = made(sorted(serials)).public_bytes(Encoding.DER)
    assert {int.from_bytes(each, "big") for each in read(data).serials} == serials

    place = at % len(data)
    broken = data[:place] + noise + data[place + len(noise) :]
    if broken != data:
        try:
            said = read(broken)
        except CrlFaults:
            return
        # The one thing that is not signed is how the signature itself is spelled: what is said stays the same.
        assert {int.from_bytes(each, "big") for each in said.serials} == serials


def test_the_bound_of_a_file_fits_the_largest_list_of_so_many_entries() -> None:
    reason = [(x509.CRLReason(x509.ReasonFlags.certificate_hold), False)]
    crl = made({2**159 - 1 - each: reason for each in range(500)})
    assert len(crl.public_bytes(Encoding.PEM)) < most_bytes(500)


def openssl(program: Path, folder: Path, *arguments: str) -> None:
    done = run([program, *arguments], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


_CONFIG = """
[ca]
default_ca = city
[city]
database = index.txt
new_certs_dir = .
serial = serial
crlnumber = crlnumber
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 7
policy = any
crl_extensions = lists
[lists]
authorityKeyIdentifier = keyid
[any]
commonName = supplied
"""


def test_lists_that_openssl_makes(tmp_path: Path, requires_openssl: Path) -> None:
    """A hold, then the same list without it, as `openssl ca -gencrl` writes them; and one over SHA-1."""
    now = time.time()
    city = issuing("openssl の市", now)
    (tmp_path / "ca.pem").write_bytes(city.pem)
    (tmp_path / "ca.key").write_bytes(private_pem(city.key))
    (tmp_path / "ca.cnf").write_text(_CONFIG, encoding="utf-8")
    (tmp_path / "index.txt").write_text("")
    (tmp_path / "serial").write_text("1A2B3C\n")
    (tmp_path / "crlnumber").write_text("0F\n")

    def lists(name: str, *more: str) -> bytes:
        openssl(requires_openssl, tmp_path, "ca", "-config", "ca.cnf", "-gencrl", "-out", name, *more)
        return (tmp_path / name).read_bytes()

    openssl(requires_openssl, tmp_path, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", "pc.key", "-out", "pc.csr", "-subj", "/CN=pc-1")  # fmt: skip
    openssl(requires_openssl, tmp_path, "ca", "-config", "ca.cnf", "-batch", "-in", "pc.csr", "-out", "pc.pem")
    empty = read_crl(lists("0.crl"), city.certificate, now + 60, 10)
    openssl(requires_openssl, tmp_path, "ca", "-config", "ca.cnf", "-revoke", "pc.pem",
            "-crl_hold", "holdInstructionReject")  # fmt: skip
    held = lists("1.crl")
    openssl(requires_openssl, tmp_path, "crl", "-in", "1.crl", "-outform", "DER", "-out", "1.der")
    said = read_crl(held, city.certificate, now + 60, 10)

    assert (empty.number, empty.entries, said.number) == ("15", 0, "16")
    assert [spelled(each) for each in said.serials] == ["1a2b3c"]
    assert read_crl((tmp_path / "1.der").read_bytes(), city.certificate, now + 60, 10) == said
    with pytest.raises(CrlFaults, match="MD5 or SHA-1"):
        read_crl(lists("2.crl", "-md", "sha1"), city.certificate, now + 60, 10)
