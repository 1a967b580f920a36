"""Which versions, suites and protocols the TLS listener takes, asked by a client that is not ours: OpenSSL's own."""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
import struct
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.client_hello import OURS, offered
from tests.support.edge import Edge, hello, running
from tests.support.server_pairs import server_context
from tests.unit.edge.test_listeners import GET, certificate

TAKEN = {
    "-tls1_3": ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"),
    "-tls1_2": (
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
}  # fmt: skip
OLD = ("-tls1_1", "-tls1", "-ssl3")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's certificate."""
    folder = tmp_path_factory.mktemp("keys")
    certificate(folder, "app.test")
    return folder


def tls_of(keys: Path) -> ssl.SSLContext:
    """Return the listener's context."""
    return server_context(keys / "app.test.pem", keys / "app.test.key", None)


async def s_client(edge: Edge, *options: str) -> str:
    """Shake hands with `openssl s_client`, say nothing more, and return all that it says of it."""
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-connect", f"127.0.0.1:{edge.port}", "-servername", "app.test", *options,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return said.decode("utf-8", "replace")


async def suites_of(version: str) -> list[str]:
    """Return every suite that this OpenSSL can offer in a version, at its lowest security level."""
    process = await asyncio.create_subprocess_exec(
        "openssl", "ciphers", "-s", version, "ALL:eNULL:@SECLEVEL=0", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return said.decode().strip().split(":")


def spoken(said: str) -> str:
    """Return the suite that was agreed on, "" where none was."""
    found = re.search(r"^New, \S+, Cipher is (\S+)", said, re.MULTILINE)
    return "" if found is None or found[1] == "(NONE)" else found[1]


@pytest.mark.promise("P1.tls-aead-only")
def test_every_suite_of_openssl_is_taken_or_refused(keys: Path) -> None:
    """Of every suite of every version only TLS 1.3's and TLS 1.2's with ECDHE and AEAD come to a connection."""

    async def main() -> tuple[dict[str, set[str]], int]:
        agreed: dict[str, set[str]] = {}
        async with running(hello, listener="public", tls=tls_of(keys)) as edge:

            async def attempt(version: str, suites: str) -> None:
                option = "-ciphersuites" if version == "-tls1_3" else "-cipher"
                choice = suites if version == "-tls1_3" else f"{suites}:@SECLEVEL=0"
                agreed.setdefault(version, set()).add(spoken(await s_client(edge, version, option, choice)))

            others = 0
            for version, taken in TAKEN.items():
                for suite in taken:
                    await attempt(version, suite)
                refused = set(await suites_of(version)) - set(taken)
                others += len(refused)
                if refused:
                    await attempt(version, ":".join(sorted(refused)))
            for version in OLD:
                await attempt(version, "ALL")
            return {version: found - {""} for version, found in agreed.items()}, others

    agreed, others = uvloop.run(main())
    assert others > 50
    assert agreed == {**{version: set(suites) for version, suites in TAKEN.items()}, **{each: set() for each in OLD}}


def test_what_is_refused_is_on_record(keys: Path) -> None:
    """An old version and a suite without AEAD each leave a record that names the cause, and no connection."""

    async def main() -> list[str]:
        async with running(hello, listener="public", tls=tls_of(keys)) as edge:
            assert not spoken(await s_client(edge, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"))
            assert not spoken(await s_client(edge, "-tls1_2", "-cipher", "AES128-SHA"))
            async with asyncio.timeout(30):
                while len(edge.gatekeeper.handshakes) < 2:
                    edge.gatekeeper.ended.clear()
                    await edge.gatekeeper.ended.wait()
            assert len(edge.listeners) == 0
            return [error for _, error in edge.gatekeeper.handshakes]

    assert uvloop.run(main()) == ["unsupported_protocol", "no_shared_cipher"]


@pytest.mark.promise("P1.alpn-http1-only")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_that_wants_http2_alone_is_told_so(keys: Path, version: str) -> None:
    """RFC 7301 §3.2: `no_application_protocol`, and a record; who offers http/1.1 too, or nothing, is served."""

    async def main() -> tuple[str, str, str, list[str]]:
        async with running(hello, listener="public", tls=tls_of(keys)) as edge:
            alone = await s_client(edge, version, "-alpn", "h2")
            both = await s_client(edge, version, "-alpn", "h2,http/1.1")
            none = await s_client(edge, version)
            return alone, both, none, [error for _, error in edge.gatekeeper.handshakes]

    alone, both, none, errors = uvloop.run(main())
    assert "alert no application protocol" in alone
    assert not spoken(alone)
    assert "ALPN protocol: http/1.1" in both
    assert spoken(both)
    assert "No ALPN negotiated" in none
    assert spoken(none)
    assert errors == ["no_application_protocol"]


def test_a_hello_in_single_bytes_is_served(keys: Path) -> None:
    """However the first bytes come, the handshake gets all of them."""

    async def main() -> bytes:
        async with running(hello, listener="public", tls=tls_of(keys)) as edge:
            context = ssl.create_default_context(cafile=str(keys / "app.test.pem"))
            context.set_alpn_protocols(["h2", "http/1.1"])
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname="app.test")
            reader, writer = await edge.connect()
            writer.transport.set_write_buffer_limits(0)
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            for byte in outgoing.read():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            while tls.selected_alpn_protocol() is None:
                incoming.write(await reader.read(65536))
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    continue
            tls.write(GET)
            writer.write(outgoing.read())
            answer = b""
            while not answer:
                incoming.write(await reader.read(65536))
                try:
                    answer = tls.read(65536)
                except ssl.SSLWantReadError:
                    continue
            writer.close()
            return answer

    assert uvloop.run(main()).startswith(b"HTTP/1.1 200 ")


@functools.cache
def first_record(*protocols: str) -> bytes:
    """Return the first record of a client that offers these."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="app.test").do_handshake()
    return outgoing.read()


def test_the_offer_is_read_as_openssl_writes_it() -> None:
    """In order and whole; none is none."""
    assert offered(first_record("h2", "http/1.1", "x" * 255)) == (b"h2", OURS, b"x" * 255)
    assert offered(first_record()) == ()


@given(cut=st.integers(0, 600), at=st.integers(0, 600), byte=st.integers(0, 255))
def test_no_damage_makes_the_reading_fail(cut: int, at: int, byte: int) -> None:
    """A record cut short or changed anywhere reads as some offer or none; nothing is raised."""
    record = bytearray(first_record("h2"))
    record[at % len(record)] = byte
    assert isinstance(offered(bytes(record[: cut % len(record)])), tuple)
    assert isinstance(offered(bytes(record)), tuple)


@given(st.binary(max_size=80))
def test_any_bytes_are_no_hello_or_an_offer(rest: bytes) -> None:
    """Behind a header that promises a hello anything may follow."""
    assert isinstance(offered(b"\x16\x03\x01" + struct.pack("!H", len(rest) + 4) + b"\x01\x00\x00\x20" + rest), tuple)
