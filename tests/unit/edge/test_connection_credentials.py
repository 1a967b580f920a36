"""Credentials that an app takes for its whole connection (NTLM, Negotiate): that connection serves nobody else."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.edge import Edge, hello, read_request, running

pytestmark = pytest.mark.anyio


async def one_leg(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that takes Kerberos in one leg, says nothing of it, and believes its connection from then on."""
    person = b"nobody"
    while True:
        head, _ = await read_request(reader)
        if not head:
            return
        if b"\r\nAuthorization: Negotiate " in head:
            person = head.split(b"Negotiate ")[1].split(b"\r\n")[0]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(person), person))
        await writer.drain()


async def _ask(edge: Edge, person: bytes, *lines: bytes) -> bytes:
    head = b"".join(b"%b\r\n" % line for line in (b"Host: app.test", b"X-Person: " + person, *lines))
    answer = await edge.ask(b"GET / HTTP/1.1\r\n" + head + b"\r\n")
    return answer.partition(b"\r\n\r\n")[2]


async def test_connection_authenticated_in_one_leg_is_never_given_to_another_person() -> None:
    async with running(one_leg) as edge:
        assert await _ask(edge, b"alice", b"Authorization: Negotiate alice") == b"alice"
        assert await _ask(edge, b"bob") == b"nobody"


async def test_other_credentials_leave_the_pool_as_it_is() -> None:
    async with running(hello) as edge:
        for person in (b"alice", b"bob"):
            assert await _ask(edge, person, b"Authorization: Basic YTpi") == b"0"
        assert len(edge.app.streams) == 1
