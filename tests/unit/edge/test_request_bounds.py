"""Bounds of single requests, bodies and streams: each one refuses, and is counted under its setting's name."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from gateway.edge.services import EdgeLimits, EdgeTimeouts
from gateway.edge.sockets import LINGER_ZERO
from gateway.gate.body_limit import body_limit
from gateway.settings_parts.bounds import Limits, Timeouts
from tests.support.edge import app_at, hello, read_head, read_request, running
from tests.unit.edge.test_live import UPGRADE, echo, masked

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"
EVENTS = b"GET /events HTTP/1.1\r\nHost: app.test\r\n\r\n"


def with_lines(*lines: bytes) -> bytes:
    return GET[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


LONG = b"X" * 5000
REFUSED = [
    ("header_bytes", 431, EdgeLimits(header_bytes=4096), with_lines(b"A: " + LONG)),
    ("header_count", 431, EdgeLimits(header_count=20), with_lines(*(b"H-%d: x" % at for at in range(20)))),
    ("header_line_bytes", 431, EdgeLimits(header_line_bytes=1024), with_lines(b"A: " + LONG)),
    ("target_bytes", 414, EdgeLimits(target_bytes=1024), b"GET /" + LONG + b" HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    ("target_bytes", 414, EdgeLimits(target_bytes=1024), b"GET /" + LONG),
    ("body_bytes", 413, EdgeLimits(body_bytes=9), with_lines(b"Content-Length: 10") + b"0123456789"),
    ("body_bytes", 413, EdgeLimits(body_bytes=9), with_lines(b"Transfer-Encoding: chunked") + b"a\r\n0123456789\r\n"),
    ("ranges", 400, EdgeLimits(ranges=5), with_lines(b"Range: bytes=0-0,1-1,2-2,3-3,4-4,5-5")),
    ("header", 408, EdgeLimits(), b"GET / HT"),
]


@pytest.mark.promise("P1.every-bound-is-counted")
@pytest.mark.parametrize(("bound", "status", "limits", "sent"), REFUSED)
def test_over_a_bound_is_refused_and_counted(bound: str, status: int, limits: EdgeLimits, sent: bytes) -> None:
    async def main() -> bytes:
        timeouts = EdgeTimeouts(header=0.2 if bound == "header" else 20.0)
        async with running(hello, limits=limits, timeouts=timeouts) as edge:
            reader, writer = await edge.connect()
            writer.write(sent)
            head = await asyncio.wait_for(read_head(reader), 30)
            assert edge.services.reached == {bound: 1}
            whole = {b"Content-Length: 10" in sent, b"Range" in sent}
            assert edge.app.streams == [] or whole == {False}
            writer.close()
            return head

    assert uvloop.run(main()).startswith(b"HTTP/1.1 %d " % status)
    assert bound in {*Limits.model_fields, *Timeouts.model_fields}


def test_at_a_bound_passes() -> None:
    async def main() -> None:
        limits = EdgeLimits(header_count=5, ranges=5, body_bytes=10)
        async with running(hello, limits=limits) as edge:
            ranges = with_lines(b"Range: bytes=0-0,1-1,2-2,3-3,4-4")
            body = with_lines(b"Content-Length: 10") + b"0123456789"
            for sent in (ranges, body, with_lines(*(b"H-%d: x" % at for at in range(4)))):
                assert (await edge.ask(sent)).startswith(b"HTTP/1.1 200 ")
            assert not edge.services.reached

    uvloop.run(main())


def test_the_last_request_of_a_connection_is_counted() -> None:
    async def main() -> bytes:
        async with running(hello, limits=EdgeLimits(requests_per_connection=2)) as edge:
            answer = await edge.ask(GET * 3)
            assert edge.services.reached == {"requests_per_connection": 1}
            return answer

    answer = uvloop.run(main())
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"Connection: close\r\n") == 1


async def speechless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that ends the connection instead of answering."""
    await read_request(reader)
    writer.close()


@pytest.mark.parametrize("drains", [False, True])
def test_bug_a_connection_whose_last_request_failed_went_on(drains: bool) -> None:
    """It went on past its bound, and past a worker's drain, for as long as the app did not answer."""

    async def main() -> bytes:
        arrived, may_end = asyncio.Event(), asyncio.Event()

        async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arrived.set()
            await may_end.wait()
            await speechless(reader, writer)

        async with running(app, limits=EdgeLimits(requests_per_connection=10_000 if drains else 1)) as edge:
            reader, writer = await edge.connect()
            writer.write(GET.replace(b"GET", b"PUT") * 2)
            await asyncio.wait_for(arrived.wait(), 30)
            if drains:
                edge.listeners.only_last_requests()
            may_end.set()
            answers = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            assert len(edge.gatekeeper.judged) == 1
            return answers

    answers = uvloop.run(main())
    assert answers.startswith(b"HTTP/1.1 502 ")
    assert answers.count(b"HTTP/1.1 ") == answers.count(b"Connection: close\r\n") == 1


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/", 100), ("/a", 100), ("/up", 5000), ("/up/", 5000), ("/up/x/y", 5000), ("/upper", 100),
        ("/up/small", 7), ("/up/small/x", 7), ("/up/large", 10_000),
    ],
)  # fmt: skip
def test_the_longest_path_that_fits_says_how_large_a_body_may_be(path: str, limit: int) -> None:
    app = app_at("http://x", body_limits=("/ 100", "/up 5000", "/up/small 7", "/up/large 99999"))
    assert body_limit(app, path, 10_000) == limit
    assert body_limit(app_at("http://x"), path, 10_000) == 10_000


@pytest.mark.promise("P1.bodies-are-bounded-per-app")
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("path", "size", "passes"), [("/a", 8, True), ("/a", 9, False), ("/up/x", 20, True)])
def test_an_app_takes_bodies_of_its_own_size(chunked: bool, path: str, size: int, passes: bool) -> None:
    """A declared length over it is refused before the app hears of the request."""

    async def main() -> None:
        async with running(hello, methods=("POST",), body_limits=("/ 8", "/up 20")) as edge:
            head = b"POST %b HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode()
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
            if not chunked:
                head = head.replace(b"Transfer-Encoding: chunked", b"Content-Length: %d" % size)
                body = b"x" * size
            answer = await edge.ask(head + body)
            assert answer.startswith(b"HTTP/1.1 200 " if passes else b"HTTP/1.1 413 ")
            assert edge.services.reached == ({} if passes else {"body_bytes": 1})
            (outcome,) = [outcome for _, outcome in edge.gatekeeper.outcomes]
            assert (outcome.reason, outcome.aborted) == (("", False) if passes else ("too_large", True))
            if not passes and not chunked:
                assert edge.app.streams == []

    uvloop.run(main())


async def streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers /events with an event stream, the rest at once."""
    while (head := (await read_request(reader))[0]) != b"":
        if head.startswith(b"GET /events"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: open\n\n")
            await reader.read()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


@pytest.mark.promise("P1.streams-are-bounded-per-session")
def test_one_session_has_so_many_streams() -> None:
    """The fifth stream gets 429, also where all five are asked for at once; another session is not concerned."""

    async def main() -> None:
        async with running(streams, limits=EdgeLimits(streams_per_session=4)) as edge:
            pages = [await edge.connect() for _ in range(5)]
            for _, writer in pages:
                writer.write(EVENTS)
            answers = [await asyncio.wait_for(read_head(reader), 30) for reader, _ in pages]
            refused = [place for place, answer in enumerate(answers) if answer.startswith(b"HTTP/1.1 429 ")]
            assert len(refused) == 1
            assert edge.services.reached == {"streams_per_session": 1}
            assert edge.services.live.crowded == {"s-u1"}
            reader, writer = await edge.connect()
            writer.write(EVENTS[:-2] + b"X-Person: u2\r\n\r\n")
            assert (await asyncio.wait_for(read_head(reader), 30)).startswith(b"HTTP/1.1 200 ")
            transport = pages[refused[0] - 1][1].transport
            socket_options = (socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            transport.get_extra_info("socket").setsockopt(*socket_options)  # the page is closed, not half of it
            transport.abort()
            async with asyncio.timeout(30):
                while edge.services.live.crowded:  # noqa: ASYNC110  # the product has no event for it
                    await asyncio.sleep(0)
            for _, each in [*pages, (reader, writer)]:
                each.close()

    uvloop.run(main())


def test_a_websocket_is_a_stream_from_its_first_frame() -> None:
    async def main() -> None:
        async with running(echo, limits=EdgeLimits(streams_per_session=1)) as edge:
            reader, writer = await edge.connect()
            writer.write(UPGRADE + masked(b"hi"))
            assert (await read_head(reader)).startswith(b"HTTP/1.1 101 ")
            assert edge.services.live.crowded == {"s-u1"}
            other, closing = await edge.connect()
            closing.write(UPGRADE)
            assert (await asyncio.wait_for(read_head(other), 30)).startswith(b"HTTP/1.1 429 ")
            assert await reader.readexactly(4) == b"\x81\x02hi"
            writer.close()
            closing.close()

    uvloop.run(main())
