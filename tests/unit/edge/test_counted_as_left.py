"""What counts as left to transports is given back, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any, cast

import uvloop

from gateway.edge.arriving import FROM_CLIENTS, LEFT
from gateway.edge.connection import ClientConnection
from gateway.edge.long_body import LongBodies
from gateway.gate.request import Peer
from tests.support.edge import hello, running


def test_bug_a_handshake_that_failed_while_the_socket_was_full_counted_for_good() -> None:
    """The socket beneath TLS tells of itself before there is a connection that could end."""

    async def main() -> None:
        async with running(hello) as edge:
            peer = Peer("127.0.0.1", 1, "public", "https", "")
            connection = ClientConnection(edge.services, asyncio.get_running_loop(), peer, lambda _: None)
            before = LEFT.bytes
            connection.pause_writing()
            assert LEFT.bytes == before

    uvloop.run(main())


def test_bug_who_had_brought_a_long_body_kept_its_piece_while_idle() -> None:
    """A piece that was left to the app's transport counts until nobody refers to it."""
    exchange = SimpleNamespace(wants_bytes=True, passed_on=lambda _: True)
    bodies = LongBodies(cast("ClientConnection", SimpleNamespace(exchange=exchange, buffer=b"")))
    waits = SimpleNamespace(write=lambda _: None, get_write_buffer_size=lambda: 1)
    gc.collect()
    before = LEFT.bytes
    read = bodies.get_buffer(-1)
    exchange.passed_on = lambda data: FROM_CLIENTS.pass_on(data, cast("Any", waits)) is None
    bodies.buffer_updated(len(read))
    assert LEFT.bytes > before
    del read  # as the transport does once it has sent everything
    assert LEFT.bytes == before
