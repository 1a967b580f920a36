"""Which authority issued a certificate that a client showed: its key says so, on real handshakes too."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.certificates import Authority as Issuing
from gateway.certificates import Issued, load_authority
from gateway.edge.authorities import Authority, CertificateReader, authority_id, united
from gateway.edge.renewal import Renewal
from gateway.edge.server_certificates import CertificateFaults, CredentialFiles, ListedAuthority
from gateway.edge.tls import HostContexts
from gateway.gate.request import ClientCertificate
from tests.support.edge import hello, running
from tests.support.revocation_lists import authority, common_name, issue, issuing, moment, plain_authority
from tests.support.server_pairs import ServerAuthority

NOW = time.time()
FIRST, SECOND, RENEWED = (issuing(name, NOW) for name in ("町", "県", "町"))


def der(issued: Issued) -> bytes:
    return x509.load_pem_x509_certificate(issued.certificate).public_bytes(Encoding.DER)


def reader(*known: Issuing, checked: tuple[Issuing, ...] = ()) -> CertificateReader:
    listed = [Authority(each.certificate, checked=True) for each in checked]
    return CertificateReader(united([each.certificate for each in known], listed))


def test_the_same_number_of_two_authorities_is_two_certificates() -> None:
    known = reader(FIRST, SECOND)
    read = [known.read(der(issue(each, "pc-1", NOW, serial=0xAB12))) for each in (FIRST, SECOND)]
    assert [each.serial for each in read] == ["ab12", "ab12"]
    assert [each.authority for each in read] == [authority_id(FIRST.certificate), authority_id(SECOND.certificate)]


def test_a_renewed_authority_of_the_same_name_is_another() -> None:
    known = reader(FIRST, RENEWED, checked=(RENEWED,))
    old, new = (known.read(der(issue(each, "pc-1", NOW))) for each in (FIRST, RENEWED))
    assert (old.authority, old.checked) == (authority_id(FIRST.certificate), False)
    assert (new.authority, new.checked) == (authority_id(RENEWED.certificate), True)


@pytest.mark.parametrize("checked", [True, False])
def test_an_authority_that_nobody_named_counts_as_one_without_a_list(checked: bool) -> None:
    known = reader(FIRST, checked=(SECOND,) if checked else ())
    read = known.read(der(issue(RENEWED, "pc-1", NOW)))
    assert (read.authority, read.checked) == ("", checked)


def test_what_was_read_once_is_remembered() -> None:
    known, shown = reader(FIRST), der(issue(FIRST, "PC-1", NOW))
    assert known.read(shown) is known.read(bytes(bytearray(shown)))
    assert known.read(shown).uuid == "pc-1"


@pytest.mark.parametrize("kind", ["rsa", "p384", "ed25519"])
def test_authorities_of_every_usual_kind_of_key(kind: str) -> None:
    key = {
        "rsa": lambda: rsa.generate_private_key(65_537, 2048), "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()  # fmt: skip
    root = plain_authority(key, "ほか", NOW)
    below = plain_authority(ec.generate_private_key(ec.SECP256R1()), "pc-9", NOW, issuer=("ほか", key))
    known = CertificateReader(united([FIRST.certificate, root], ()))
    assert known.read(below.public_bytes(Encoding.DER)).authority == authority_id(root)


def test_a_number_that_no_list_can_have_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for number in (2**159 - 1, 1):
        assert reader(FIRST).read(der(issue(FIRST, "pc-1", NOW, serial=number))).serial == f"{number:x}"
    certificate = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(common_name("町"))
        .public_key(key.public_key()).serial_number(7).not_valid_before(moment(NOW - 60))
        .not_valid_after(moment(NOW + 60)).sign(FIRST.key, hashes.SHA256())
    )  # fmt: skip
    with pytest.raises(ValueError, match="common name"):
        reader(FIRST).read(certificate.public_bytes(Encoding.DER))


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    """A server's pair, a device authority of one file, and another one of which there is a list."""
    made = ServerAuthority(tmp_path).issue("server", "app.test")
    one = authority(tmp_path / "one", "町", NOW)
    two = authority(tmp_path / "two", "県", NOW)
    (tmp_path / "both.pem").write_bytes(one.pem + two.pem)
    listed = (ListedAuthority(tmp_path / "two" / "ca.pem", checked=True),)
    return CredentialFiles((made.pair,), tmp_path / "both.pem", (), listed)


@pytest.mark.parametrize("named", [True, False], ids=["a name asked for", "no name asked for"])
def test_a_real_handshake_names_the_authority(files: CredentialFiles, tmp_path: Path, named: bool) -> None:
    issued = issue(load_authority(tmp_path / "two"), "pc-7", NOW, serial=0xAB12)
    (tmp_path / "pc.pem").write_bytes(issued.certificate + issued.key)

    async def main() -> ClientCertificate | None:
        contexts = HostContexts(files.read(time.time()))
        async with running(hello, listener="public", tls=contexts.base) as edge:
            client = ssl.create_default_context()
            client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
            client.load_cert_chain(tmp_path / "pc.pem")
            reading, writing = await asyncio.open_connection(
                "127.0.0.1", edge.port, ssl=client, server_hostname="app.test" if named else "127.0.0.1"
            )  # fmt: skip
            writing.write(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            await reading.read()
            writing.close()
            return edge.gatekeeper.judged[0].peer.certificate

    shown = uvloop.run(main())
    assert shown is not None
    assert (shown.uuid, shown.serial, shown.checked) == ("pc-7", "ab12", True)
    assert shown.authority == authority_id(load_authority(tmp_path / "two").certificate)


def test_a_resumed_session_names_the_authority_too(files: CredentialFiles, tmp_path: Path) -> None:
    issued = issue(load_authority(tmp_path / "two"), "pc-7", NOW)
    (tmp_path / "pc.pem").write_bytes(issued.certificate + issued.key)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.load_cert_chain(tmp_path / "pc.pem")

    def ask(port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            client.wrap_socket(plain, server_hostname="app.test", session=session) as tls,
        ):
            tls.sendall(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            while tls.recv(65_536):
                pass
            return tls.session, tls.session_reused

    async def main() -> list[ClientCertificate | None]:
        contexts = HostContexts(files.read(time.time()))
        async with running(hello, listener="public", tls=contexts.base) as edge:
            first, _ = await asyncio.to_thread(ask, edge.port, None)
            _, reused = await asyncio.to_thread(ask, edge.port, first)
            assert reused
            return [each.peer.certificate for each in edge.gatekeeper.judged]

    first, resumed = uvloop.run(main())
    assert first is not None
    assert first == resumed
    assert (first.uuid, first.checked) == ("pc-7", True)


def test_every_fault_of_an_authority_with_a_list_is_told(files: CredentialFiles, tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("nothing")
    two = tmp_path / "two" / "ca.pem"
    listed = tuple(
        ListedAuthority(each, checked=True)
        for each in (two, two, tmp_path / "both.pem", tmp_path / "junk.pem", tmp_path / "absent.pem")
    )
    with pytest.raises(CertificateFaults) as caught:
        replace(files, listed=listed).read(NOW)
    assert [each.partition(": ")[2].partition(",")[0] for each in caught.value.faults] == [
        "an authority that has a list already", "got 2 certificates", "not a certificate",
        "cannot be read (No such file or directory)",
    ]  # fmt: skip


def test_an_authority_changes_by_reload_only(files: CredentialFiles, tmp_path: Path) -> None:
    renewal = Renewal(files, NOW)
    (tmp_path / "two" / "ca.pem").write_bytes(issuing("県", NOW).pem)
    assert renewal.look(NOW) is None
    renewed = renewal.look(NOW)
    assert renewed is not None
    assert "changes by `sekisho reload`" in renewed.faults[0]
