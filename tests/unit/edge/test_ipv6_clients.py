"""Clients over IPv6: which address is on record, who counts as one client, what a front may say of them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest
import uvloop

from gateway.edge.listener import Listening
from gateway.edge.proxy_protocol import SIGNATURE, parse
from gateway.edge.server_certificates import CredentialFiles
from gateway.edge.services import EdgeLimits
from gateway.edge.tls import HostContexts
from gateway.gate.request import Peer, network_of
from tests.support.edge import Edge, hello, read_head, running
from tests.support.server_pairs import ServerAuthority

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"


def proxy_v2(address: str) -> bytes:
    """A PROXY v2 header for TCP over IPv6 (§2.2)."""
    ends = socket.inet_pton(socket.AF_INET6, address) + socket.inet_pton(socket.AF_INET6, "::1")
    block = ends + struct.pack("!HH", 40000, 443)
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x21, len(block)) + block


@pytest.mark.parametrize(
    ("sent", "known"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"), ("2001:DB8:0:0::1", "2001:db8::1"), ("::1", "::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"), ("fe80::1", "fe80::1"),
    ],
)  # fmt: skip
def test_a_front_names_ipv6_clients(sent: str, known: str) -> None:
    """In the one spelling of RFC 5952; IPv4 inside IPv6 is IPv4; what the client says of itself goes nowhere."""

    async def main() -> tuple[str, bytes]:
        claims = b"X-Forwarded-For: 10.9.9.9\r\nForwarded: for=10.9.9.9\r\nX-Real-IP: 10.9.9.9\r\n\r\n"
        async with running(hello, listener="behind") as edge:
            answer = await edge.ask(proxy_v2(sent) + GET[:-2] + claims)
            assert answer.startswith(b"HTTP/1.1 200 ")
            return edge.gatekeeper.judged[0].peer.address, edge.app.streams[0].data

    address, told = uvloop.run(main())
    assert address == known
    assert f"X-Forwarded-For: {known}\r\n".encode() in told
    assert b"10.9.9.9" not in told


def test_ipv6_headers_in_pieces() -> None:
    """Every proper prefix is "not complete yet"."""
    whole = proxy_v2("2001:db8::7")
    assert all(parse(whole[:size]) is None for size in range(len(whole)))
    assert parse(whole) is not None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"), ("2001:db8:1:3::1", "2001:db8:1:3::/64"), ("", ""),
    ],
)  # fmt: skip
def test_a_64_counts_as_one_client(address: str, network: str) -> None:
    """An IPv4 address counts for itself, an IPv6 address for its /64."""
    assert network_of(address) == Peer(address, 1, "public", "https", "").network == network


async def answered(edge: Edge, address: str, opened: list[asyncio.StreamWriter]) -> bool:
    """Whether a client at `address` is served; its connection stays open for as long as `opened` keeps it."""
    reader, writer = await edge.connect()
    opened.append(writer)
    writer.write(proxy_v2(address) + GET)
    try:
        async with asyncio.timeout(30):
            return (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()
        return False


@pytest.mark.promise("P1.limits-per-64")
def test_new_addresses_of_one_64_do_not_make_room() -> None:
    """Two connections a client: the third of the same /64 is closed, whatever its address; another /64 is served."""

    async def main() -> list[bool]:
        async with running(hello, listener="behind", limits=EdgeLimits(connections_per_address=2)) as edge:
            opened: list[asyncio.StreamWriter] = []
            return [
                await answered(edge, address, opened)
                for address in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1")
            ]

    assert uvloop.run(main()) == [True, True, False, True]


@pytest.mark.parametrize(("bound", "asked", "known"), [("::1", "::1", "::1"), ("::", "127.0.0.1", "127.0.0.1")])
def test_a_listener_on_ipv6(tmp_path: Path, bound: str, asked: str, known: str) -> None:
    """Over TLS as without: the client's address has no scope, and IPv4 over an IPv6 socket is IPv4."""
    authority = ServerAuthority(tmp_path)
    files = CredentialFiles((authority.issue("pair", "app.test").pair,), None, ())

    async def main() -> str:
        async with running(hello) as edge:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                sock.bind((bound, 0))
                await edge.listeners.open(
                    Listening("public", sock, HostContexts(files.read(time.time())).base, "https")
                )
                context = ssl.create_default_context(cafile=str(authority.ca))
                port = sock.getsockname()[1]
                reader, writer = await asyncio.open_connection(asked, port, ssl=context, server_hostname="app.test")
                writer.write(GET)
                assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
                writer.close()
            return edge.gatekeeper.judged[0].peer.address

    assert uvloop.run(main()) == known
