"""The authorities of an installation, judged by OpenSSL and by Python's TLS."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from gateway import certificates, keyfiles

NOW = time.time()
DOMAIN = "sekisho.localhost"
DEVICE = "0a1b2c3d-0000-4000-8000-0123456789ab"


@pytest.fixture(scope="module")
def authority() -> certificates.Authority:
    return certificates.create_tls_authority(DOMAIN, NOW)


def device_folder(folder: Path) -> Path:
    made = certificates.create_device_authority("見本市", NOW)
    (folder / "ca.pem").write_bytes(made.pem)
    (folder / "ca.key").write_bytes(keyfiles.private_pem(made.key))
    return folder


async def fetch(folder: Path, authority: certificates.Authority, names: tuple[str, ...], asked: str) -> str:
    """Shake hands with a server that has a certificate for `names`, expecting `asked`; returns the peer's name."""
    issued = certificates.issue_server_certificate(authority, names, NOW, 30)
    (folder / "server.pem").write_bytes(issued.certificate)
    (folder / "server.key").write_bytes(issued.key)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "server.pem", folder / "server.key")
    client_side = ssl.create_default_context(cadata=authority.pem.decode())
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=server_side)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_side, server_hostname=asked)
        subject = writer.get_extra_info("peercert")["subject"]
        writer.close()
    return str(subject[0][0][1])


@pytest.mark.parametrize("asked", [f"portal.{DOMAIN}", f"zaimu.{DOMAIN}", DOMAIN])
def test_the_domain_is_vouched_for(tmp_path: Path, authority: certificates.Authority, asked: str) -> None:
    assert asyncio.run(fetch(tmp_path, authority, (f"*.{DOMAIN}", DOMAIN), asked)) == f"*.{DOMAIN}"


@pytest.mark.promise("P1.trial-authority-constrained")
@pytest.mark.parametrize("asked", ["bank.example", "sekisho.localhost.example", "notsekisho.localhost"])
def test_a_name_outside_is_refused(tmp_path: Path, authority: certificates.Authority, asked: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        asyncio.run(fetch(tmp_path, authority, (asked,), asked))


@pytest.mark.promise("P1.trial-authority-constrained")
def test_openssl_refuses_a_name_and_an_address_outside(
    tmp_path: Path, authority: certificates.Authority, requires_openssl: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    outcomes = {}
    for name in (f"app.{DOMAIN}", "bank.example"):
        leaf = certificates.issue_server_certificate(authority, (name,), NOW, 30)
        (tmp_path / "leaf.pem").write_bytes(leaf.certificate)
        result = subprocess.run(
            [requires_openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", tmp_path / "ca.pem",
             tmp_path / "leaf.pem"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        outcomes[name] = (result.returncode, "permitted subtree violation" in result.stderr)
    assert outcomes == {f"app.{DOMAIN}": (0, False), "bank.example": (2, True)}


@pytest.mark.promise("P1.trial-authority-constrained")
def test_the_trial_authority_ends_after_thirty_days(authority: certificates.Authority) -> None:
    certificate = authority.certificate
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=30)
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [x509.DNSName(DOMAIN)]
    with pytest.raises(ValueError, match="days: got 31"):
        certificates.create_tls_authority(DOMAIN, NOW, days=31)
    with pytest.raises(ValueError, match="outlive its authority"):
        certificates.issue_server_certificate(authority, (DOMAIN,), NOW, 31)


def test_an_authority_cannot_make_authorities(
    tmp_path: Path, authority: certificates.Authority, requires_openssl: Path
) -> None:
    """A leaf used as an authority is refused, whatever it signs."""
    leaf = certificates.issue_server_certificate(authority, (DOMAIN,), NOW, 30)
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "ca.pem").write_bytes(leaf.certificate)
    (tmp_path / "chain" / "ca.key").write_bytes(leaf.key)
    forged = certificates.issue_server_certificate(
        certificates.load_authority(tmp_path / "chain"), (f"x.{DOMAIN}",), NOW, 30
    )
    (tmp_path / "root.pem").write_bytes(authority.pem)
    (tmp_path / "forged.pem").write_bytes(forged.certificate)
    result = subprocess.run(
        [requires_openssl, "verify", "-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "chain" / "ca.pem",
         tmp_path / "forged.pem"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode != 0
    assert "invalid CA certificate" in result.stderr


def test_a_device_certificate_names_its_device(tmp_path: Path, requires_openssl: Path) -> None:
    folder = device_folder(tmp_path)
    issued = certificates.issue_device_certificate(folder, DEVICE, 365, NOW)
    (tmp_path / "device.pem").write_bytes(issued.certificate)
    verified = subprocess.run(
        [requires_openssl, "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", folder / "ca.pem",
         tmp_path / "device.pem"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (verified.returncode, verified.stderr) == (0, "")
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    assert certificate.subject.rfc4514_string() == f"CN={DEVICE}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"urn:uuid:{DEVICE}"]


def test_a_device_certificate_is_no_server_certificate(tmp_path: Path, requires_openssl: Path) -> None:
    folder = device_folder(tmp_path)
    (tmp_path / "device.pem").write_bytes(certificates.issue_device_certificate(folder, DEVICE, 365, NOW).certificate)
    verified = subprocess.run(
        [requires_openssl, "verify", "-purpose", "sslserver", "-CAfile", folder / "ca.pem", tmp_path / "device.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verified.returncode != 0


@pytest.mark.parametrize("password", ["", "合言葉 1234"])
def test_the_bundle_holds_key_and_certificate(tmp_path: Path, password: str) -> None:
    issued = certificates.issue_device_certificate(device_folder(tmp_path), DEVICE, 30, NOW, password)
    key, certificate, others = pkcs12.load_key_and_certificates(issued.bundle, password.encode() or None)
    assert others == []
    assert certificate == x509.load_pem_x509_certificate(issued.certificate)
    assert key is not None
    assert key.public_key() == certificate.public_key()


@pytest.mark.parametrize(
    ("uuid", "days", "message"),
    [
        ("../../etc", 30, "uuid: got"), (DEVICE.upper(), 30, "uuid: got"), ("", 30, "uuid: got"),
        (DEVICE + "\n", 30, "uuid: got"), (DEVICE, 0, "days: got"), (DEVICE, 398, "days: got"),
    ],
)  # fmt: skip
def test_a_wrong_device_is_refused(tmp_path: Path, uuid: str, days: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        certificates.issue_device_certificate(device_folder(tmp_path), uuid, days, NOW)


def test_an_authority_with_a_foreign_key_is_refused(tmp_path: Path) -> None:
    folder = device_folder(tmp_path)
    other = certificates.create_device_authority("別の市", NOW)
    (folder / "ca.key").write_bytes(keyfiles.private_pem(other.key))
    with pytest.raises(ValueError, match=r"ca\.key does not belong to ca\.pem"):
        certificates.load_authority(folder)
