"""Who was told 503 is not read for a moment, whether the gate said so or the app's queue was full."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from gateway.edge import client_socket
from gateway.edge.services import UpstreamBounds
from tests.support.edge import read_head, running

HEAD = b"HEAD /a HTTP/1.1\r\nHost: app.test\r\n\r\n"


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that takes requests and never answers."""
    await reader.read()
    writer.close()


async def asked_of_a_full_app(again: bool) -> int:
    """Ask twice on one connection; return how many requests were judged before (`again`: after) the second answer."""
    async with running(silent, bounds=UpstreamBounds(connections=1, queue=0)) as edge:
        _, holder = await edge.connect()
        holder.write(HEAD)
        while not edge.app.streams:  # noqa: ASYNC110  # the loop must run for the bytes to arrive
            await asyncio.sleep(0)
        reader, writer = await edge.connect()
        writer.write(HEAD)
        assert (await read_head(reader)).startswith(b"HTTP/1.1 503 ")
        before = len(edge.gatekeeper.judged)
        writer.write(HEAD)
        if again:
            assert (await read_head(reader)).startswith(b"HTTP/1.1 503 ")
        else:  # others come and go meanwhile
            for _ in range(3):
                other, others = await edge.connect()
                others.write(HEAD)
                assert (await read_head(other)).startswith(b"HTTP/1.1 503 ")
                others.close()
            before += 3
        judged = len(edge.gatekeeper.judged)
        for each in (writer, holder):
            each.close()
        return judged - before


@pytest.mark.parametrize(("rest", "again"), [(1000.0, False), (0.05, True)])
def test_a_full_queue_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch, rest: float, again: bool) -> None:
    """Clients that repeat at once took the time in which others could be served: 63 % of capacity was left."""
    monkeypatch.setattr(client_socket, "REST", rest)
    assert uvloop.run(asked_of_a_full_app(again)) == int(again)
