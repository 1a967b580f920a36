"""Clients that bring or take bytes slowly: an attacker is cut within 15 s, a person on a poor line is not.

The sweeper's clock is moved by hand: what is tested are the limits' seconds, not the machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from gateway.edge.pace import Pace
from gateway.edge.services import Answer, EdgeLimits, EdgeTimeouts
from gateway.edge.sockets import unsent
from gateway.gate.verdict import Refuse
from gateway.settings import Settings
from gateway.settings_parts.bounds import Limits, Timeouts
from tests.support.edge import Edge, Handler, hello, read_head, read_request, running

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"
LARGE = bytes(range(256)) * 4096  # 1 MiB
STEP = 0.5


class Clock:
    """The seconds by which the sweeper of one edge is ahead.

    Its clock stands still otherwise: the seconds that a busy machine takes are none of the limits'.
    """

    def __init__(self, edge: Edge) -> None:
        self._sweeper = edge.services.sweeper
        begun = self._sweeper.clock()
        self.ahead = 0.0
        self._sweeper._clock = lambda: begun + self.ahead

    async def pass_by(self, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Let time pass in steps; `meanwhile` is called in each, and the sockets get their turn."""
        for _ in range(round(seconds / STEP)):
            self.ahead += STEP
            meanwhile()
            await asyncio.sleep(0.002)
            self._sweeper.sweep()
        await asyncio.sleep(0.01)


def sized(size: int) -> Handler:
    """An app that answers every request with so many bytes."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await read_request(reader))[0]:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + LARGE[:size])
            await writer.drain()

    return app


@contextlib.asynccontextmanager
async def small_window(edge: Edge) -> AsyncIterator[socket.socket]:
    """A client whose kernel takes few bytes, as slowhttptest's fourth mode."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", edge.port))
    sock.setblocking(False)
    try:
        yield sock
    finally:
        sock.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait until something became so."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  # the product has no event for it
            await asyncio.sleep(0.002)


async def settled(edge: Edge, sock: socket.socket) -> None:
    """Wait until the kernels have moved all they can: time that is moved by hand runs faster than theirs."""
    same = 0
    before: object = None
    async with asyncio.timeout(30):
        while same < 40:
            waiting = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))
            left = [each.transport and unsent(each.transport) for each in edge.listeners._connections]
            same = same + 1 if (waiting, left) == before else 0
            before = (waiting, left)
            await asyncio.sleep(0.01)


def took(sock: socket.socket, size: int) -> int:
    """Take at most `size` bytes that are there."""
    try:
        return len(sock.recv(size))
    except BlockingIOError:
        return 0


def test_bytes_buy_time_up_to_one_pause() -> None:
    pace = Pace(rate=240, grace=10.0, pause=30.0, now=100.0)
    assert pace.until == 110.0
    assert pace.moved(480, 105.0)  # two seconds more
    assert pace.until == 112.0
    assert pace.moved(10**6, 106.0)  # never more than a pause
    assert pace.until == 136.0
    assert not pace.moved(0, 136.0)
    assert Pace(240, 10.0, 0.5, 100.0).until == 100.5


@pytest.mark.promise("P1.slow-clients-are-cut")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_trickles_is_refused_within_fifteen_seconds(chunked: bool) -> None:
    async def main() -> tuple[bytes, int, float]:
        async with running(hello, methods=("POST",)) as edge:
            clock = Clock(edge)
            reader, writer = await edge.connect()
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 8192"
            writer.write(b"POST /a HTTP/1.1\r\nHost: app.test\r\n%b\r\n\r\n" % framing)
            await until(lambda: len(edge.app.streams) == 1)
            asked = asyncio.create_task(reader.read())
            while not asked.done() and clock.ahead < 20:
                await clock.pass_by(STEP, lambda: writer.write(b"1\r\nx\r\n" if chunked else b"x"))
            ended = clock.ahead
            writer.close()
            return await asked, edge.services.reached["body_min_rate"], ended

    answer, counted, ended = uvloop.run(main())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert counted == 1
    assert 10 <= ended <= 15


def test_an_upload_that_was_fast_may_pause() -> None:
    """A person whose train goes through a tunnel for 25 s; not for more than the setting says."""

    async def main() -> None:
        async with running(hello, methods=("POST",)) as edge:
            clock = Clock(edge)
            reader, writer = await edge.connect()
            writer.write(b"POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 40000\r\n\r\n" + LARGE[:20000])
            await until(lambda: len(edge.app.streams) == 1 and len(edge.app.streams[0].data) > 20000)
            await clock.pass_by(25)
            writer.write(LARGE[:20000])
            assert (await asyncio.wait_for(read_head(reader), 30)).startswith(b"HTTP/1.1 200 ")
            writer.close()

    uvloop.run(main())


@pytest.mark.promise("P1.slow-clients-are-cut")
@pytest.mark.parametrize(
    ("size", "half_closed"), [(24_000, False), (50_000, False), (50_000, True), (len(LARGE), False), (len(LARGE), True)]
)
def test_an_answer_that_nobody_takes_is_cut_within_fifteen_seconds(size: int, half_closed: bool) -> None:
    """Whether it waits at the app, in our buffers or in the kernel's; also where the client sent its FIN."""

    async def main() -> None:
        async with running(sized(size)) as edge, small_window(edge) as sock:
            clock = Clock(edge)
            sock.send(GET)
            if half_closed:
                sock.shutdown(socket.SHUT_WR)
            await until(lambda: len(edge.gatekeeper.outcomes) == 1 or bool(edge.services.live.all()))
            await settled(edge, sock)
            await clock.pass_by(8)
            assert len(edge.listeners) == 1
            await clock.pass_by(7)
            assert len(edge.listeners) == 0
            assert edge.services.reached["read_min_rate"] == 1
            (outcome,) = [outcome for _, outcome in edge.gatekeeper.outcomes]
            assert outcome.reason == ("timed_out" if size == len(LARGE) else "")

    uvloop.run(main())


def test_a_slow_line_reads_to_the_end() -> None:
    """64 kbit/s, with silences of 8 s: every byte arrives."""

    async def main() -> int:
        async with running(sized(len(LARGE))) as edge, small_window(edge) as sock:
            clock, got = Clock(edge), 0

            def read() -> None:
                nonlocal got
                if clock.ahead % 20 > 8:
                    for _ in range(4):
                        got += took(sock, 1024)

            sock.send(GET)
            await until(lambda: bool(edge.services.live.all()))
            while got < len(LARGE) and len(edge.listeners) and clock.ahead < 2000:
                await clock.pass_by(20, read)
            assert edge.services.reached["read_min_rate"] == 0
            return got

    assert uvloop.run(main()) > len(LARGE)


def test_a_taken_answer_leaves_the_connection_its_idle_time() -> None:
    async def main() -> None:
        async with running(hello, timeouts=EdgeTimeouts(idle=75.0)) as edge:
            clock = Clock(edge)
            reader, writer = await edge.connect()
            writer.write(GET)
            await read_head(reader)
            await clock.pass_by(74)
            assert len(edge.listeners) == 1
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            await clock.pass_by(74)
            assert len(edge.listeners) == 1
            await clock.pass_by(2)
            assert len(edge.listeners) == 0
            assert not edge.services.reached
            writer.close()

    uvloop.run(main())


@pytest.mark.promise("P1.slow-clients-are-cut")
def test_who_was_only_refused_is_not_kept_for_long() -> None:
    """A small refusal fits into every kernel's buffers: whether it was read cannot be told from outside."""

    async def main() -> None:
        async with running(hello) as edge:
            clock = Clock(edge)
            edge.gatekeeper.refuse = lambda _: Refuse("REQ", {}, 403, "denied_by_rule")
            reader, writer = await edge.connect()
            writer.write(GET)
            await read_head(reader)
            await clock.pass_by(8)
            assert len(edge.listeners) == 1
            edge.gatekeeper.refuse = lambda _: None
            writer.write(GET)
            await reader.readuntil(b"HTTP/1.1 200 OK\r\n")
            await clock.pass_by(60)
            assert len(edge.listeners) == 1  # one who was served is kept as long as ever
            edge.gatekeeper.refuse = lambda _: Refuse("REQ", {}, 403, "denied_by_rule")
            writer.write(GET)
            await reader.readuntil(b"HTTP/1.1 403 ")
            await clock.pass_by(11)
            assert len(edge.listeners) == 0
            writer.close()

    uvloop.run(main())


@pytest.mark.promise("P1.pipelining-is-bounded")
@pytest.mark.parametrize("ours", [True, False])
def test_bug_answers_of_pipelined_requests_piled_up(ours: bool) -> None:
    """A client that asked ahead and took nothing had all our refusals made and kept: 40 KB asked, 20 MB of memory."""
    half, size = 500, 20_000

    async def main() -> None:
        limits = EdgeLimits(ahead_bytes=4096)
        async with running(sized(size), limits=limits) as edge, small_window(edge) as sock:
            if ours:
                edge.gatekeeper.refuse = lambda _: Refuse("REQ", {}, 403, "denied_by_rule")
                edge.gatekeeper.answer = lambda *_: Answer(403, (), LARGE[:size])  # type: ignore[method-assign]
            assert sock.send(GET * half) == len(GET) * half
            await until(lambda: any(connection.full for connection in edge.listeners._connections))
            assert sock.send(GET * half) == len(GET) * half
            await until(lambda: edge.services.reached["ahead_bytes"] == 1)
            await settled(edge, sock)
            assert len(edge.gatekeeper.records) < 10
            (connection,) = edge.listeners._connections
            assert connection.transport is not None
            assert connection.transport.get_write_buffer_size() < 64 * 1024
            got = 0
            async with asyncio.timeout(20):  # reading brings every answer
                while len(edge.gatekeeper.records) < 2 * half or got < 2 * half * size:
                    got += took(sock, 2**20)
                    await asyncio.sleep(0)
            assert len(edge.gatekeeper.records) == 2 * half

    uvloop.run(main())


def test_bug_a_paused_app_connection_went_to_the_next_client() -> None:
    """The end of an answer filled a slow client's socket; the app's connection stayed paused in the pool."""

    async def main() -> None:
        # The last read brings more than a small socket takes.
        async with running(sized(160_000)) as edge, small_window(edge) as sock:
            sock.send(GET)
            await until(lambda: bool(edge.services.live.all()))
            got = 0
            async with asyncio.timeout(30):
                while not edge.gatekeeper.outcomes:
                    got += took(sock, 512)
                    await asyncio.sleep(0.0005)
            (connection,) = edge.listeners._connections
            assert connection.full  # the rest waits for the slow one
            for _ in range(3):
                reader, writer = await edge.connect()
                writer.write(GET)
                await asyncio.wait_for(read_head(reader), 30)
                await asyncio.wait_for(reader.readexactly(160_000), 30)
                writer.close()
            assert len(edge.app.streams) == 1

    uvloop.run(main())


def test_every_counted_bound_is_a_setting() -> None:
    """What the edge counts has the name under which an operator changes it; defaults are the settings'."""
    named = set(Limits.model_fields) | set(Timeouts.model_fields)
    assert {"limits", "timeouts"} <= set(Settings.model_fields)
    for edge, section in ((EdgeLimits(), Limits()), (EdgeTimeouts(), Timeouts())):
        for name in edge.__slots__:
            assert name in named
            assert getattr(edge, name) == getattr(section, name), name
