"""What a client over TLS can still be sent after a cut (promise P3): no more than one without TLS."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path
from socket import create_connection

import pytest
import uvloop

from policies.reasons import Reason
from tests.support.edge import Edge, read_head, running
from tests.support.server_pairs import ServerAuthority, server_context

PIECE = b"x" * 65536


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app whose answer goes on as long as somebody takes it."""
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        writer.write(PIECE)
        await writer.drain()


class Reader(threading.Thread):
    """A client that reads `before` bytes of an answer, stops, and takes whatever still comes after `go`."""

    def __init__(self, port: int, trusting: ssl.SSLContext, before: int) -> None:
        super().__init__()
        self._port, self._trusting, self._before = port, trusting, before
        self.stands, self.go = threading.Event(), threading.Event()
        self.got = 0

    def run(self) -> None:
        plain = create_connection(("127.0.0.1", self._port))
        with self._trusting.wrap_socket(plain, server_hostname="app.test") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            while self.got < self._before:
                self.got += len(client.recv(min(16384, self._before - self.got)))
            self.stands.set()
            self.go.wait(60)
            try:
                while piece := client.recv(65536):
                    self.got += len(piece)
            except OSError:  # the reset
                return


async def standing(edge: Edge) -> int:
    """Wait until nothing more is accepted for the client; returns how much was."""
    exchange = edge.services.live.all()[0]
    before, still = -1, 0
    async with asyncio.timeout(30):
        while still < 50:
            taken = exchange.outcome().response_bytes
            before, still = taken, still + 1 if taken == before and edge_is_full(edge) else 0
            await asyncio.sleep(0.002)
    return before


def edge_is_full(edge: Edge) -> bool:
    return all(each.full for each in edge.listeners._connections)


@pytest.mark.promise("P3.little-in-flight-over-tls")
@pytest.mark.parametrize(("before", "most"), [(0, 131_072), (5_000_000, 163_840)])
def test_a_cut_over_tls_takes_back_all_but_little(tmp_path: Path, before: int, most: int) -> None:
    """What was accepted and is never sent: within 128 KiB; of one who stops reading, one segment of the kernel more."""
    authority = ServerAuthority(tmp_path)
    pair = authority.issue("app", "app.test").pair
    trusting = ssl.create_default_context(cafile=str(authority.ca))

    async def main() -> tuple[int, int]:
        served = server_context(pair.certificate, pair.key, None)
        async with running(flood, listener="public", tls=served) as edge:
            client = Reader(edge.port, trusting, before)
            client.start()
            await asyncio.to_thread(client.stands.wait, 30)
            accepted = await standing(edge)
            edge.services.live.cut_each(edge.services.live.all(), Reason.SESSION_REVOKED)
            async with asyncio.timeout(30):
                await edge.gatekeeper.ended.wait()
            client.go.set()
            await asyncio.to_thread(client.join, 30)
            return accepted, client.got

    accepted, got = uvloop.run(main())
    assert before <= got < accepted
    assert accepted - got <= most
