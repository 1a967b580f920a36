"""Listeners over real sockets: TLS, client certificates, PROXY v2, redirects, limits."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import struct
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.edge.listener import Listening, inherited
from gateway.edge.proxy_protocol import SIGNATURE, ProxyHeaderFault, parse
from gateway.edge.services import EdgeLimits, EdgeTimeouts
from gateway.edge.tunnel import close_frame
from policies.reasons import Reason
from tests.support.edge import Edge, hello, read_head, running
from tests.support.server_pairs import server_context
from tests.unit.edge.test_live import UPGRADE, echo, masked

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"
NOW = dt.datetime.now(dt.UTC)


def certificate(
    folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Write `name`.pem and `name`.key; self-signed CA without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(0xABC123)
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    made = builder.sign(key if issuer is None else issuer[1], hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's certificate, a device CA with one device, a foreign CA with one device."""
    folder = tmp_path_factory.mktemp("keys")
    certificate(folder, "app.test")
    certificate(folder, "device-7", certificate(folder, "device-ca"))
    certificate(folder, "stranger", certificate(folder, "other-ca"))
    return folder


def client_context(keys: Path, device: str = "") -> ssl.SSLContext:
    """Return a client that trusts the test server and shows `device`."""
    context = ssl.create_default_context(cafile=str(keys / "app.test.pem"))
    if device:
        context.load_cert_chain(keys / f"{device}.pem", keys / f"{device}.key")
    return context


def served(keys: Path) -> ssl.SSLContext:
    """Return the public listener's context."""
    return server_context(keys / "app.test.pem", keys / "app.test.key", keys / "device-ca.pem")


@pytest.mark.parametrize("device", ["", "device-7"])
def test_tls_tells_name_version_and_device(keys: Path, device: str) -> None:
    """SNI, protocol and the device's certificate reach the judge; X-Forwarded-Proto is https."""

    async def main() -> None:
        async with running(hello, listener="public", tls=served(keys)) as edge:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", edge.port, ssl=client_context(keys, device), server_hostname="app.test"
            )
            writer.write(GET)
            assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
            peer = edge.gatekeeper.judged[0].peer
            assert (peer.server_name, peer.scheme, peer.tls_version) == ("app.test", "https", "TLSv1.3")
            shown = peer.certificate
            assert (shown is not None) is bool(device)
            if shown is not None:
                assert (shown.uuid, shown.serial) == ("device-7", "abc123")
            assert b"X-Forwarded-Proto: https\r\n" in edge.app.streams[0].data
            writer.write(GET.replace(b"app.test", b"other.test"))
            await reader.readexactly(1)
            assert (await read_head(reader)).startswith(b"HTTP/1.1 421 ")
            writer.close()

    uvloop.run(main())


def test_failed_handshakes_are_recorded(keys: Path) -> None:
    """A foreign device CA, plain HTTP, and silence end the handshake, each with a record and no request."""

    async def main() -> list[str]:
        timeouts = EdgeTimeouts(tls_handshake=3.0)
        async with running(hello, listener="public", tls=served(keys), timeouts=timeouts) as edge:
            keeper = edge.gatekeeper

            async def recorded(count: int) -> None:
                async with asyncio.timeout(30):
                    while len(keeper.handshakes) < count:
                        keeper.ended.clear()
                        await keeper.ended.wait()

            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", edge.port, ssl=client_context(keys, "stranger"), server_hostname="app.test"
                )
                writer.write(GET)
                await reader.read()
                writer.close()
            except OSError:
                pass
            await recorded(1)
            _, plain = await edge.connect()
            plain.write(GET)
            await recorded(2)
            _, silent = await edge.connect()
            await recorded(3)
            plain.close()
            silent.close()
            assert keeper.judged == []
            assert edge.services.reached == {"tls_handshake": 1}
            assert len(edge.listeners) == 0
            return [error for _, error in keeper.handshakes]

    errors = uvloop.run(main())
    assert errors[:2] == ["certificate_verify_failed", "http_request"]
    assert len(errors) == 3


async def answer_or_reset(edge: Edge, sent: bytes) -> bytes:
    """Return the answer, b"" where the connection was reset or closed without one."""
    try:
        return await edge.ask(sent)
    except ConnectionResetError:
        return b""


def proxy_header(address: str = "203.0.113.9", tlv: bytes = b"") -> bytes:
    """Return a PROXY v2 header for TCP over IPv4."""
    block = socket.inet_aton(address) + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 40000, 443) + tlv
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11, len(block)) + block


def test_behind_takes_the_address_from_proxy_v2_only() -> None:
    """With a header the client's address is the one told; without one nothing is answered."""

    async def main() -> None:
        async with running(hello, listener="behind") as edge:
            authority = b"\x02" + struct.pack("!H", 8) + b"app.test"
            answer = await edge.ask(proxy_header(tlv=authority) + GET)
            assert answer.startswith(b"HTTP/1.1 200 ")
            peer = edge.gatekeeper.judged[0].peer
            assert (peer.address, peer.server_name) == ("203.0.113.9", "app.test")
            assert b"X-Forwarded-For: 203.0.113.9\r\n" in edge.app.streams[0].data
            for wrong in (GET, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET):
                assert await answer_or_reset(edge, wrong) == b""
            assert len(edge.gatekeeper.handshakes) == 2
            assert len(edge.gatekeeper.judged) == 1

    uvloop.run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        b"x",
        SIGNATURE + b"\x11\x11\x00\x00",
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        SIGNATURE + b"\x21\x11\xff\xff",
        proxy_header(tlv=b"\x02\x00\xffx"),
    ],
)
def test_malformed_proxy_headers(wrong: bytes) -> None:
    """Anything but a complete, well-formed TCP header is a fault."""
    with pytest.raises(ProxyHeaderFault):
        parse(wrong)


def test_proxy_headers_in_pieces() -> None:
    """Every proper prefix is "not complete yet"."""
    whole = proxy_header()
    assert all(parse(whole[:size]) is None for size in range(len(whole)))
    parsed = parse(whole + GET)
    assert parsed is not None
    assert parsed.size == len(whole)


def test_the_redirect_listener_knows_our_hosts_only() -> None:
    """Known hosts go to https with the same target; a foreign Host is refused, never reflected."""

    async def main() -> tuple[bytes, bytes]:
        async with running(hello, listener="redirect") as edge:
            known = await edge.ask(GET.replace(b"/a", b"/a?x=1"))
            foreign = await edge.ask(GET.replace(b"app.test", b"evil.test"))
            assert edge.app.streams == []
            return known, foreign

    known, foreign = uvloop.run(main())
    assert known.startswith(b"HTTP/1.1 308 ")
    assert b"Location: https://app.test:8443/a?x=1\r\n" in known
    assert foreign.startswith(b"HTTP/1.1 421 ")
    assert b"evil" not in foreign


def test_connections_per_address_are_bounded_and_given_back() -> None:
    """The third connection of one address is reset; a closed one makes room."""

    async def main() -> None:
        async with running(hello, limits=EdgeLimits(connections_per_address=2)) as edge:
            held = [await edge.connect() for _ in range(2)]
            for reader, writer in held:
                writer.write(GET)
                await read_head(reader)
            assert await answer_or_reset(edge, GET) == b""
            assert edge.services.reached == {"connections_per_address": 1}
            assert edge.gatekeeper.refused == [("127.0.0.1", "connections_per_address")]
            held[0][1].close()
            async with asyncio.timeout(30):
                while len(edge.listeners) > 1:  # noqa: ASYNC110  # the product has no event for it
                    await asyncio.sleep(0)
            assert (await edge.ask(GET)).startswith(b"HTTP/1.1 200 ")
            held[1][1].close()

    uvloop.run(main())


def test_sockets_are_inherited_by_name() -> None:
    """SEKISHO_LISTEN is read strictly; loopback refuses other addresses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        found = inherited({"SEKISHO_LISTEN": f"loopback:{sock.fileno()}"})
        assert found["loopback"].getsockname() == sock.getsockname()
        found["loopback"].detach()
    for wrong in ("public", "nonsense:3", "public:x"):
        with pytest.raises(ValueError, match="SEKISHO_LISTEN"):
            inherited({"SEKISHO_LISTEN": wrong})
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))  # never listened on: the refusal is the test
        with pytest.raises(ValueError, match="loopback"):
            Listening("loopback", sock)


@pytest.mark.promise("P3.cut-resets-live-connections")
def test_a_cut_over_tls_ends_without_close_notify(keys: Path) -> None:
    """A download over TLS is cut at once: the client sees a broken connection, never a clean end."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def main() -> tuple[str, str]:
        async with running(endless, listener="public", tls=served(keys)) as edge:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", edge.port, ssl=client_context(keys), server_hostname="app.test"
            )
            writer.write(GET)
            await read_head(reader)
            edge.services.live.cut_each(edge.services.live.all(), Reason.SESSION_REVOKED)
            ended = "clean"
            try:
                async with asyncio.timeout(30):
                    while await reader.read(2**20):
                        pass
            except (ConnectionResetError, ssl.SSLError) as error:
                ended = type(error).__name__
            writer.transport.abort()
            return ended, edge.gatekeeper.outcomes[0][1].reason

    ended, reason = uvloop.run(main())
    assert ended == "ConnectionResetError"
    assert reason == "session_revoked"


@pytest.mark.promise("P7.closed-websocket-says-why")
def test_a_cut_websocket_over_tls_reads_why(keys: Path) -> None:
    """The close frame leaves as one more TLS record before the reset."""

    async def main() -> bytes:
        async with running(echo, listener="public", tls=served(keys)) as edge:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", edge.port, ssl=client_context(keys), server_hostname="app.test"
            )
            writer.write(UPGRADE + masked(b"hi"))
            await read_head(reader)
            assert await reader.readexactly(4) == b"\x81\x02hi"
            edge.services.live.cut_each(edge.services.live.all(), Reason.SESSION_REVOKED)
            got = b""
            with contextlib.suppress(ConnectionResetError, ssl.SSLError):
                async with asyncio.timeout(30):
                    while data := await reader.read(1000):
                        got += data
            writer.transport.abort()
            return got

    assert uvloop.run(main()) == close_frame(1008, "session_revoked 受付番号 REQ---")
