"""Which certificate a client gets for the name that it asks for, what is refused at load, what a change does."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.edge.renewal import Renewal
from gateway.edge.server_certificates import CertificateFaults, CredentialFiles, Pair
from tests.support.edge import Edge, hello, read_head, running
from tests.support.server_pairs import DAY, Made, ServerAuthority, key_pem

HOSTS = ("portal.city.test",)
SHORT = rsa.generate_private_key(65537, 1024)  # noqa: S505  # what has to be refused


@pytest.fixture
def authority(tmp_path: Path) -> ServerAuthority:
    """An authority with an empty folder."""
    return ServerAuthority(tmp_path)


def files_of(*pairs: Pair, client_ca: Path | None = None, hosts: tuple[str, ...] = HOSTS) -> CredentialFiles:
    """Where a listener's credentials lie."""
    return CredentialFiles(pairs, client_ca, hosts)


async def shown(edge: Edge, authority: ServerAuthority, name: str | None) -> int:
    """The serial number of the certificate that a client gets for `name`; a new connection with one request."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.check_hostname = False
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, ssl=context, server_hostname=name or "")
    connection = writer.get_extra_info("ssl_object")
    writer.write(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
    await read_head(reader)
    writer.close()
    return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number


@pytest.mark.promise("P1.certificate-per-host")
def test_each_name_gets_its_certificate(authority: ServerAuthority) -> None:
    """Exact before wildcard, a wildcard for one label only, any case and final dot; everything else the default."""
    first = authority.issue("first", "portal.city.test")
    wild = authority.issue("wild", "*.apps.test", "apps.test")
    exact = authority.issue("exact", "docs.apps.test", key=rsa.generate_private_key(65537, 2048))
    asked = {
        "portal.city.test": first, "docs.apps.test": exact, "DOCS.apps.test": exact, "other.apps.test": wild,
        "apps.test": wild, "deep.other.apps.test": first, "unknown.test": first, None: first,
    }  # fmt: skip

    async def main() -> dict[str | None, int]:
        renewal = Renewal(files_of(first.pair, wild.pair, exact.pair), time.time())
        async with running(hello, listener="public", tls=renewal.contexts.base) as edge:
            return {name: await shown(edge, authority, name) for name in asked}

    assert uvloop.run(main()) == {name: made.certificate.serial_number for name, made in asked.items()}


Break = Callable[[ServerAuthority, Made], object]


def written(path: Callable[[Made], Path], data: Callable[[Made], bytes]) -> Break:
    """Put other bytes into one file of a pair."""
    return lambda _, made: path(made).write_bytes(data(made))


def certificate_of(made: Made) -> Path:
    return made.pair.certificate


def key_of(made: Made) -> Path:
    return made.pair.key


BROKEN: dict[str, tuple[Break, str]] = {
    "no certificate": (lambda _, made: made.pair.certificate.unlink(), "pair.pem: cannot be read (No such file"),
    "no key": (lambda _, made: made.pair.key.unlink(), "pair.key: cannot be read (No such file"),
    "empty certificate": (written(certificate_of, lambda _: b""), "pair.pem: not a certificate"),
    "half a certificate": (written(certificate_of, lambda made: made.pem[: len(made.pem) // 2]), "not a certificate"),
    "key in place of a certificate": (written(certificate_of, lambda made: key_pem(made.key)), "not a certificate"),
    "half a key": (written(key_of, lambda made: key_pem(made.key)[:-60]), "pair.key: not a usable key"),
    "key with a password": (written(key_of, lambda made: key_pem(made.key, b"secret")), "without a password"),
    "another's key": (
        written(key_of, lambda _: key_pem(ec.generate_private_key(ec.SECP256R1()))), "got another certificate's key",
    ),
    "key of a kind that browsers do not take": (
        written(key_of, lambda _: key_pem(ed25519.Ed25519PrivateKey.generate())), "a weak or unusual key",
    ),
    "short RSA key": (
        lambda authority, _: authority.issue("pair", *HOSTS, key=SHORT),
        "a weak or unusual key",
    ),
    "expired": (lambda authority, _: authority.issue("pair", *HOSTS, life=DAY / 2), "pair.pem: expired at"),
    "not valid yet": (lambda authority, _: authority.issue("pair", *HOSTS, age=-DAY), "not valid before"),
    "no alternative names": (lambda authority, _: authority.issue("pair"), "no DNS name"),
    "for clients": (
        lambda authority, _: authority.issue("pair", *HOSTS, usage=ExtendedKeyUsageOID.CLIENT_AUTH),
        "not made for servers",
    ),
    "another host's": (
        lambda authority, _: authority.issue("pair", "other.test"),
        "portal.city.test: covered by no certificate, expected one among other.test",
    ),
    "a wildcard two labels above": (
        lambda authority, _: authority.issue("pair", "*.test"), "portal.city.test: covered by no certificate",
    ),
    "chain in the wrong order": (
        lambda authority, made: made.pair.certificate.write_bytes(authority.ca.read_bytes() + made.pem),
        "certificate 2 did not issue the one before it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pair_is_refused_at_load_and_on_a_change(name: str, authority: ServerAuthority) -> None:
    """The fault names the file and never the key; a listener that runs goes on with the former pair, told once."""
    made = authority.issue("pair", *HOSTS)
    renewal = Renewal(files_of(made.pair), time.time())
    served = renewal.served
    do, expected = BROKEN[name]
    do(authority, made)
    with pytest.raises(CertificateFaults) as fault:
        files_of(made.pair).read(time.time())
    assert expected in str(fault.value)
    assert "PRIVATE KEY" not in str(fault.value)
    assert renewal.look(time.time()) is None  # not at rest yet
    renewed = renewal.look(time.time())
    assert renewed is not None
    assert renewed.faults == fault.value.faults
    assert renewed.certificates == renewal.served == served
    assert renewal.look(time.time()) is None


def test_all_faults_are_told_at_once(authority: ServerAuthority) -> None:
    """Three pairs and the device CA, each with a fault of its own: four lines."""
    expired = authority.issue("expired", *HOSTS, life=DAY / 2)
    mixed = authority.issue("mixed", *HOSTS)
    mixed.pair.key.write_bytes(key_pem(expired.key))
    away = Pair(authority.folder / "away.pem", mixed.pair.key)
    with pytest.raises(CertificateFaults) as fault:
        files_of(expired.pair, mixed.pair, away, client_ca=authority.folder / "no-ca.pem").read(time.time())
    assert [line.partition(": ")[0].rpartition("/")[2] for line in fault.value.faults] == [
        "expired.pem", "mixed.key", "away.pem", "no-ca.pem",
    ]  # fmt: skip


def test_a_chain_is_shown_whole(authority: ServerAuthority) -> None:
    """What stands behind the certificate is handed on in order; the key's own parameters may precede it."""
    made = authority.issue("pair", *HOSTS)
    made.pair.certificate.write_bytes(made.pem + authority.ca.read_bytes())
    (read,) = files_of(made.pair).read(time.time()).certificates
    assert read.pem == made.pem + authority.ca.read_bytes() + key_pem(made.key)
    assert read.not_after == pytest.approx((dt.datetime.now(dt.UTC) + 9 * DAY).timestamp(), abs=60)
    assert "PRIVATE" not in repr(read)


@pytest.mark.promise("P1.certificates-change-in-place")
def test_changed_files_serve_from_the_next_handshake_on(authority: ServerAuthority) -> None:
    """New connections get the new certificate; the one that is open goes on; a broken change alters nothing."""

    async def main() -> list[str]:
        made = authority.issue("pair", *HOSTS)
        renewal = Renewal(files_of(made.pair), time.time())
        seen: list[str] = []
        async with running(hello, listener="public", tls=renewal.contexts.base) as edge:
            context = ssl.create_default_context(cafile=str(authority.ca))
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", edge.port, ssl=context, server_hostname=HOSTS[0]
            )

            async def still_open() -> bool:
                writer.write(b"GET / HTTP/1.1\r\nHost: portal.city.test\r\n\r\n")
                answered = (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
                await reader.readexactly(1)
                return answered

            async def now_shown() -> str:
                serial = await shown(edge, authority, HOSTS[0])
                return next((name for name, each in known.items() if each.certificate.serial_number == serial), "?")

            known = {"first": made}
            seen.append(await now_shown())
            known["second"] = authority.issue("pair", *HOSTS)
            seen.append(await now_shown())
            assert renewal.look(time.time()) is None
            renewed = renewal.look(time.time())
            assert renewed is not None
            assert renewed.faults == ()
            seen.append(await now_shown())
            known["third"] = authority.issue("pair", *HOSTS)
            known["third"].pair.key.write_bytes(key_pem(made.key))  # the new certificate with the old key
            renewal.look(time.time())
            refused = renewal.look(time.time())
            assert refused is not None
            assert refused.faults
            seen.append(await now_shown())
            known["third"].pair.key.write_bytes(key_pem(known["third"].key))
            renewal.look(time.time())
            renewal.look(time.time())
            seen.append(await now_shown())
            assert await still_open()
            writer.close()
        return seen

    assert uvloop.run(main()) == ["first", "first", "second", "second", "third"]


def test_no_handshake_ever_meets_a_mixture(authority: ServerAuthority) -> None:
    """While both files are replaced over and over, one after the other, every client finds a whole pair."""

    async def main() -> tuple[int, int]:
        made = authority.issue("pair", *HOSTS)
        renewal = Renewal(files_of(made.pair), time.time())
        known = {made.certificate.serial_number}
        replaced = 0
        async with running(hello, listener="public", tls=renewal.contexts.base) as edge:
            for _ in range(12):
                fresh = authority.issue("other", *HOSTS)
                known.add(fresh.certificate.serial_number)
                for source, target in zip(
                    (fresh.pair.certificate, fresh.pair.key), (made.pair.certificate, made.pair.key), strict=True
                ):
                    source.replace(target)
                    for _ in range(2):
                        looked = await asyncio.to_thread(renewal.look, time.time())
                        replaced += looked is not None and not looked.faults
                    assert await shown(edge, authority, HOSTS[0]) in known
            assert edge.gatekeeper.handshakes == []
        return replaced, len(known)

    assert uvloop.run(main()) == (12, 13)


def test_a_link_that_points_elsewhere_is_a_change(authority: ServerAuthority) -> None:
    """As ACME clients do it: the file's name stays, its link turns."""
    old, new = authority.issue("old", *HOSTS), authority.issue("new", *HOSTS)
    live = Pair(authority.folder / "live.pem", authority.folder / "live.key")

    def point_at(made: Made) -> None:
        for name, target in ((live.certificate, made.pair.certificate), (live.key, made.pair.key)):
            with contextlib.suppress(FileNotFoundError):
                name.unlink()
            name.symlink_to(target)

    point_at(old)
    renewal = Renewal(files_of(live), time.time())
    point_at(new)
    assert renewal.look(time.time()) is None
    renewed = renewal.look(time.time())
    assert renewed is not None
    assert [each.serial for each in renewed.certificates] == [f"{new.certificate.serial_number:x}"]


@pytest.fixture
def device_authorities(tmp_path: Path) -> tuple[ServerAuthority, ServerAuthority]:
    """Two authorities of devices, each in a folder of its own."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    return ServerAuthority(folders[0]), ServerAuthority(folders[1])


def test_another_device_authority_counts_from_the_next_handshake_on(
    authority: ServerAuthority, device_authorities: tuple[ServerAuthority, ServerAuthority]
) -> None:
    """When the file of the device CA changes, certificates of the new one are taken, those of the old one are not."""

    async def main() -> list[bool]:
        old, new = device_authorities
        made = authority.issue("pair", *HOSTS)
        trusted = authority.folder / "devices.pem"
        trusted.write_bytes(old.ca.read_bytes())
        renewal = Renewal(files_of(made.pair, client_ca=trusted), time.time())
        devices = [each.issue("device", usage=ExtendedKeyUsageOID.CLIENT_AUTH) for each in (old, new)]

        async def taken(edge: Edge, device: Made) -> bool:
            context = ssl.create_default_context(cafile=str(authority.ca))
            context.load_cert_chain(device.pair.certificate, device.pair.key)
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", edge.port, ssl=context, server_hostname=HOSTS[0]
                )
                writer.write(b"GET / HTTP/1.1\r\nHost: portal.city.test\r\nConnection: close\r\n\r\n")
                await read_head(reader)
                writer.close()
            except (OSError, asyncio.IncompleteReadError):
                return False
            return edge.gatekeeper.judged[-1].peer.certificate is not None

        async with running(hello, listener="public", tls=renewal.contexts.base) as edge:
            before = [await taken(edge, device) for device in devices]
            trusted.write_bytes(new.ca.read_bytes())
            renewal.look(time.time())
            renewed = renewal.look(time.time())
            assert renewed is not None
            assert "another authority of devices, expected the former one: it changes by `sekisho reload`" in str(
                renewed
            )
            return before + [await taken(edge, device) for device in devices]

    # TLS sessions begun under the former authority could be resumed for ever: only new workers know none of them.
    assert uvloop.run(main()) == [True, False, True, False]
