"""Answers of https apps that close their connection behind them were cut: what was not decrypted yet was thrown away.

The app says everything and closes while the worker does other work (its loop is held up), so that the answer and the
connection's end are read in one turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from gateway.edge.pool import Pool
from gateway.edge.services import EdgeLimits, EdgeTimeouts
from policies.reasons import Reason
from tests.support.edge import Edge, hello, running
from tests.support.server_pairs import ServerAuthority
from tests.unit.edge.test_long_bodies import narrow

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"
BODY = bytes(range(250)) * 2000  # 500 kB: two reads of what is encrypted, which is more than a turn hands over
TIMES = 10
KNOWN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY)
SILENT = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)  # closes without having said so
OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


class ClosingApp(threading.Thread):
    """An app over TLS that sends the same to each of so many connections, and nothing more.

    `notify`: it says the end in TLS before the connection ends. It ends itself when the gateway has closed each.
    """

    def __init__(self, context: ssl.SSLContext, says: bytes, connections: int, *, notify: bool) -> None:
        super().__init__(daemon=True)
        self._context, self._says, self._connections, self._notify = context, says, connections, notify
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(30)
        self.at = f"https://localhost:{self._listener.getsockname()[1]}"
        self.asked, self.go, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.ends = threading.Event()
        self.ends.set()

    def run(self) -> None:
        with self._listener:
            for _ in range(self._connections):
                accepted, _address = self._listener.accept()
                accepted.settimeout(30)
                with self._context.wrap_socket(accepted, server_side=True) as sock:
                    self._serve(sock)

    def _serve(self, sock: ssl.SSLSocket) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += sock.recv(65536)
        self.asked.set()
        self.go.wait(30)
        sock.sendall(self._says)
        self.ends.wait(30)
        if self._notify:
            sock.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError):  # it waits for nobody's answer
                sock.unwrap()
            sock.settimeout(30)
        sock.shutdown(socket.SHUT_WR)
        self.closed.set()
        with contextlib.suppress(ConnectionError):
            while sock.recv(65536):
                pass

    async def say_all(self) -> None:
        """Wait for a request; the loop stands still until its answer is said and the connection ended."""
        async with asyncio.timeout(30):
            while not self.asked.is_set():  # noqa: ASYNC110  # set by another thread
                await asyncio.sleep(0.0005)
        self.asked.clear()
        self.go.set()
        self.closed.wait(1)  # a kernel that takes less lets it go on: less is read in one turn then
        self.go.clear()
        self.closed.clear()


@pytest.fixture
def authority(tmp_path: Path) -> ServerAuthority:
    return ServerAuthority(tmp_path)


def serving(authority: ServerAuthority, name: str = "localhost") -> ssl.SSLContext:
    """Return the context of an app that is called so."""
    pair = authority.issue("app", name).pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@contextlib.asynccontextmanager
async def before(app: ClosingApp, authority: ServerAuthority, limits: EdgeLimits | None = None) -> AsyncIterator[Edge]:
    """Run an edge before the app; at the end each of the app's connections has to be closed."""
    app.start()
    async with running(hello, limits=limits, upstream=app.at, upstream_ca=str(authority.ca)) as edge:
        yield edge
        await asyncio.to_thread(app.join, 30)
        assert not app.is_alive()


async def asked(edge: Edge, app: ClosingApp, *, slow: bool) -> bytes:
    """Return all that a client gets for one request; one that is slow reads nothing before the app has closed."""
    sock = narrow()
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", edge.port))
    with sock:
        await loop.sock_sendall(sock, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await app.say_all()
        if slow:
            await asyncio.sleep(0.02)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while data := await asyncio.wait_for(loop.sock_recv(sock, 16384), 30):
                got += data
        return got


def unchunked(answer: bytes) -> bytes:
    """Return the body of a whole answer, however it is framed."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    if b"chunked" not in head:
        return rest
    assert rest.endswith(b"0\r\n\r\n")
    body = b""
    while (line := rest.partition(b"\r\n"))[0] != b"0":
        size = int(line[0], 16)
        body += line[2][:size]
        rest = line[2][size + 2 :]
    return body


def only_pool(edge: Edge) -> Pool:
    """Return the pool of the one app."""
    return edge.services.pools.of(edge.gatekeeper.app)


@pytest.mark.parametrize("manner", ["plain", "narrow", "slow"])
@pytest.mark.parametrize(("head", "notify"), [(KNOWN, False), (KNOWN, True), (SILENT, False), (OPEN, True)])
def test_an_answer_arrives_whole_though_its_connection_ends(
    authority: ServerAuthority, manner: str, head: bytes, notify: bool
) -> None:
    """Each byte arrives: of long reads and of narrow ones, and where the app is held for a slow client."""

    async def main() -> list[bytes]:
        app = ClosingApp(serving(authority), head + BODY, TIMES, notify=notify)
        limits = EdgeLimits(unsent_bytes=1) if manner == "narrow" else None
        async with before(app, authority, limits) as edge:
            return [await asked(edge, app, slow=manner == "slow") for _ in range(TIMES)]

    answers = uvloop.run(main())
    assert [unchunked(answer) == BODY for answer in answers] == [True] * TIMES


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(("head", "notify"), [(KNOWN, False), (KNOWN, True), (OPEN, False)])
def test_an_answer_that_is_cut_is_never_a_complete_one(
    authority: ServerAuthority, head: bytes, notify: bool, slow: bool
) -> None:
    """Half a body, or one without length whose end TLS did not say: on record as cut, and the client can see it."""

    async def main() -> None:
        app = ClosingApp(serving(authority), head + BODY[: len(BODY) // 2], 2, notify=notify)
        async with before(app, authority) as edge:
            for _ in range(2):
                got = await asked(edge, app, slow=slow)
                assert not got.endswith(b"\r\n0\r\n\r\n")
                assert len(got) < len(BODY)
            async with asyncio.timeout(30):
                while len(edge.gatekeeper.outcomes) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert [each.reason for _, each in edge.gatekeeper.outcomes] == [Reason.APP_ANSWER_INVALID] * 2

    uvloop.run(main())


async def emptied(pool: Pool) -> None:
    """Wait until the pool has no connection."""
    async with asyncio.timeout(30):
        while pool._idle or pool._open:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def test_a_connection_whose_end_waited_is_not_pooled(authority: ServerAuthority) -> None:
    """The end comes while the client is slow: what follows the answer is a new connection."""

    async def main() -> None:
        app = ClosingApp(serving(authority), SILENT + BODY, 2, notify=False)
        async with before(app, authority) as edge:
            for number in (1, 2):
                assert unchunked(await asked(edge, app, slow=True)) == BODY
                pool = only_pool(edge)
                await emptied(pool)
                assert (pool.counts.opened, pool.counts.reused) == (number, 0)

    uvloop.run(main())


def test_a_connection_that_ends_while_pooled_is_closed_at_once(authority: ServerAuthority) -> None:
    """Nobody waits for anything then: no request is ever sent on it."""

    async def main() -> None:
        app = ClosingApp(serving(authority), SILENT + BODY, 2, notify=False)
        app.go.set()
        async with before(app, authority) as edge:
            for number in (1, 2):
                app.ends.clear()
                assert unchunked(await edge.ask(GET)) == BODY
                pool = only_pool(edge)
                assert len(pool._idle) == 1
                app.ends.set()
                await emptied(pool)
                assert (pool.counts.opened, pool.counts.reused) == (number, 0)

    uvloop.run(main())


async def refused(port: int, authority: ServerAuthority) -> None:
    """Ask an edge whose app is there; it must not be reached."""
    at, timeouts = f"https://localhost:{port}", EdgeTimeouts(upstream_connect=1.0)
    async with running(hello, upstream=at, upstream_ca=str(authority.ca), timeouts=timeouts) as edge:
        assert (await edge.ask(GET)).startswith(b"HTTP/1.1 502 ")
        assert edge.gatekeeper.outcomes[0][1].reason == Reason.APP_UNREACHABLE
        counts = only_pool(edge).counts
        assert (counts.opened, counts.failed) == (0, 1)


@pytest.mark.parametrize("fault", ["name", "authority"])
def test_an_app_that_is_not_who_it_should_be_gets_no_request(tmp_path: Path, fault: str) -> None:
    """Another name in the certificate, another authority: 502, and not a byte of the request."""
    trusted, other = (tmp_path / each for each in ("trusted", "other"))
    for folder in (trusted, other):
        folder.mkdir()
    authority = ServerAuthority(trusted)
    context = serving(authority, "other.test") if fault == "name" else serving(ServerAuthority(other))
    served: list[asyncio.StreamReader] = []

    async def main() -> None:
        server = await asyncio.start_server(lambda reader, _: served.append(reader), "127.0.0.1", 0, ssl=context)
        async with server:
            await refused(server.sockets[0].getsockname()[1], authority)

    uvloop.run(main())
    assert [bytes(reader._buffer) for reader in served] == [b""] * len(served)  # type: ignore[attr-defined]


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None])
def test_a_handshake_that_fails_leaves_no_connection(authority: ServerAuthority, says: bytes | None) -> None:
    """An app without TLS, one that closes at once, one that says nothing: 502, and its socket is closed."""

    async def main() -> None:
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            if says is not None:
                writer.write(says)
                writer.write_eof()
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass
            writer.close()
            left.set_result(None)

        server = await asyncio.start_server(app, "127.0.0.1", 0)
        async with server:
            await refused(server.sockets[0].getsockname()[1], authority)
            await asyncio.wait_for(left, 30)

    uvloop.run(main())
