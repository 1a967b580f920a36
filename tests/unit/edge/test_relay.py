"""Exchanges over real sockets: bodies, framing, keep-alive, back-pressure, retries, answers that are not fit."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
import uvloop

from gateway.edge.services import EdgeTimeouts, UpstreamBounds
from tests.support.edge import Handler, hello, read_head, read_request, running

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"


def answering(*answers: bytes) -> Handler:
    """An app that gives the answers in turn, then closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    return handler


def ask(answer: bytes, request: bytes = GET) -> bytes:
    """Return what a client gets for one request when the app answers `answer`."""

    async def main() -> bytes:
        async with running(answering(answer)) as edge:
            return await edge.ask(request)

    return uvloop.run(main())


@pytest.mark.parametrize(
    ("request_head", "answer", "got"),
    [
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"\r\n\r\nhi"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"Content-Length: 2\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"Content-Length: 9\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
         b"Content-Length: 2\r\n\r\nhi"),
        (b"GET", b"HTTP/1.0 200 OK\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)  # fmt: skip
def test_answers_are_framed_anew(request_head: bytes, answer: bytes, got: bytes) -> None:
    """Whatever framing the app chose, the client gets one whole answer."""
    assert ask(answer, GET.replace(b"GET", request_head)).endswith(got)


def test_location_and_cookies_are_made_public() -> None:
    """The app's own address, our cookie names and parent domains do not reach the browser."""

    async def main() -> bytes:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            port = writer.get_extra_info("sockname")[1]
            writer.write(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/next?x=1\r\nSet-Cookie: id=1; Path=/\r\n"
                b"Set-Cookie: __Host-Sekisho-app=stolen\r\nSet-Cookie: wide=1; Domain=.test\r\n"
                b"Set-Cookie: own=1; Domain=app.test; secure\r\nContent-Length: 0\r\n\r\n" % port
            )

        async with running(handler) as edge:
            return await edge.ask(GET)

    answer = uvloop.run(main())
    assert b"Location: http://app.test/next?x=1\r\n" in answer
    assert b"Set-Cookie: id=1; Path=/; Secure\r\n" in answer
    assert b"Set-Cookie: own=1; Domain=app.test; secure\r\n" in answer
    assert b"stolen" not in answer
    assert b"wide" not in answer


def test_keep_alive_reuses_both_connections_and_orders_pipelined_answers() -> None:
    """Ten requests in one write: ten answers in order over one upstream connection."""

    async def main() -> tuple[bytes, int]:
        async with running(hello) as edge:
            requests = [
                b"POST /%d HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n%b" % (n, n, b"x" * n)
                for n in range(10)
            ]
            return await edge.ask(b"".join(requests)), len(edge.app.streams)

    answers, connections = uvloop.run(main())
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"%d" % n for n in range(10)]
    assert connections == 1


@pytest.mark.parametrize(("method", "status"), [(b"GET", b"200"), (b"POST", b"502")])
def test_a_stale_pooled_connection_is_tried_again_once_where_safe(method: bytes, status: bytes) -> None:
    """The app drops the second request of each connection: GET is repeated on a new one, POST never."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await read_request(reader)

    async def main() -> bytes:
        async with running(handler) as edge:
            await edge.ask(GET)
            return await edge.ask(GET.replace(b"GET", method))

    assert uvloop.run(main()).startswith(b"HTTP/1.1 " + status)


def test_large_bodies_both_ways_are_byte_identical_and_bounded() -> None:
    """8 MiB up and down; a client that does not read stops the app's writing."""
    size = 8 * 2**20
    blob = hashlib.shake_128(b"seed").digest(size)
    written = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        _, body = await read_request(reader)
        assert body == blob
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.transport.set_write_buffer_limits(high=65536)
        for place in range(0, size, 65536):
            writer.write(blob[place : place + 65536])
            written = place
            await writer.drain()

    async def main() -> tuple[bytes, int]:
        async with running(handler) as edge:
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=65536)
            writer.write(b"POST /up HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n" % size + blob)
            await read_head(reader)
            before = -1
            while before != written:  # until the app is stopped by back-pressure
                before = written
                await asyncio.sleep(0.1)
            held = written
            got = await reader.readexactly(size)
            writer.close()
            return got, held

    got, held = uvloop.run(main())
    assert got == blob
    assert held < size - 2**20


def test_events_pass_as_they_are_written() -> None:
    """Each SSE event reaches the client before the app writes the next one."""
    turn = asyncio.Queue[bytes]

    async def main() -> list[bytes]:
        go: asyncio.Queue[bytes] = turn()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            while event := await go.get():
                writer.write(event)

        async with running(handler) as edge:
            reader, writer = await edge.connect()
            writer.write(GET)
            await read_head(reader)
            got = []
            for n in range(3):
                go.put_nowait(b"data: %d\r\n\r\n" % n)
                async with asyncio.timeout(30):
                    size = int(await reader.readuntil(b"\r\n"), 16)
                    got.append((await reader.readexactly(size + 2))[:-2])
            go.put_nowait(b"")
            writer.close()
            return got

    assert uvloop.run(main()) == [b"data: %d\r\n\r\n" % n for n in range(3)]


def test_expect_continue_is_answered_after_the_decision() -> None:
    """The client gets 100 only once the request is allowed, then sends its body."""

    async def main() -> tuple[bytes, bytes]:
        async with running(hello) as edge:
            reader, writer = await edge.connect()
            writer.write(b"POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            first = await read_head(reader)
            writer.write(b"abc")
            second = await read_head(reader)
            writer.close()
            return first, second

    first, second = uvloop.run(main())
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert second.startswith(b"HTTP/1.1 200 ")


@pytest.mark.promise("P2.written-before-app")
def test_no_byte_reaches_the_app_before_the_record_is_kept() -> None:
    """While the journal has not called back the app has no connection; an error means 503 and nothing forwarded."""

    async def main() -> tuple[int, int, bytes, int]:
        async with running(hello) as edge:
            keeper = edge.gatekeeper
            keeper.hold_records = []
            reader, writer = await edge.connect()
            writer.write(GET)
            while not keeper.hold_records:  # noqa: ASYNC110  # the loop must run for the bytes to arrive
                await asyncio.sleep(0)
            before = len(edge.app.streams)
            keeper.hold_records.pop()(None)
            await read_head(reader)
            after = len(edge.app.streams)
            keeper.hold_records = None
            keeper.healthy = False
            refused = await edge.ask(GET.replace(b"/a", b"/b"))
            writer.close()
            return before, after, refused, sum(b"/b" in stream.data for stream in edge.app.streams)

    before, after, refused, leaked = uvloop.run(main())
    assert (before, after, leaked) == (0, 1, 0)
    assert refused.startswith(b"HTTP/1.1 503 ")


@pytest.mark.promise("P1.identity-headers-dropped")
def test_identity_headers_and_our_cookies_never_reach_the_app() -> None:
    """Spoofed identity in any spelling is gone, and Connection cannot remove what we add."""
    spoofed = [
        b"X-Forwarded-User", b"x-forwarded-for", b"Forwarded", b"REMOTE-USER", b"X-Auth-Request-Email", b"X-Real-IP",
        b"Cf-Access-Jwt-Assertion", b"X-Goog-IAP-JWT-Assertion", b"x-authentik-username", b"Client-Cert",
        b"X-Sekisho-Jwt-Assertion", b"X-Original-URL", b"X-Rewrite-Url", b"X-HTTP-Method-Override", b"My-Jwt",
    ]  # fmt: skip
    head = b"GET /a HTTP/1.1\r\nHost: app.test\r\nConnection: X-Sekisho-Request-Id, x-forwarded-proto, keep-alive\r\n"
    head += b"".join(b"%b: evil\r\n" % name for name in spoofed)
    head += b"Cookie: a=1; __Host-sekisho-app=evil; __host-SEKISHO=evil; b=2\r\n\r\n"

    async def main() -> bytes:
        async with running(hello, assertion_header="My_Jwt") as edge:
            await edge.ask(head)
            return edge.app.streams[0].data

    seen = uvloop.run(main())
    assert b"evil" not in seen
    assert b"Cookie: a=1; b=2\r\n" in seen
    assert b"X-Sekisho-Request-Id: REQ\r\n" in seen
    assert b"X-Forwarded-Proto: http\r\n" in seen


@pytest.mark.parametrize("field", [b"X_Forwarded_User: a", b"X.Y: a", b"X Y: a", b"Content_Length: 3"])
def test_names_outside_letters_digits_hyphen_are_refused(field: bytes) -> None:
    """Underscores and other separators would be folded by some apps (security A1, V5)."""

    async def main() -> bytes:
        async with running(hello) as edge:
            return await edge.ask(GET[:-2] + field + b"\r\n\r\n")

    assert uvloop.run(main()).startswith(b"HTTP/1.1 400 ")


def test_time_limits_close_slow_clients_and_slow_apps() -> None:
    """Half a head: 408; an app that says nothing: 504."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await read_request(reader))[0]:
            pass

    async def main() -> tuple[bytes, bytes]:
        limits = EdgeTimeouts(header=1.5, upstream_first_byte=1.5)
        async with running(silent, timeouts=limits) as edge:
            reader, writer = await edge.connect()
            writer.write(b"GET / HT")
            slow_client = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            return slow_client, await edge.ask(GET)

    slow_client, slow_app = uvloop.run(main())
    assert slow_client.startswith(b"HTTP/1.1 408 ")
    assert slow_app.startswith(b"HTTP/1.1 504 ")


def test_open_pages_leave_room_for_requests() -> None:
    """An event stream, or a tunnel, lasts as long as a page is open: it must not use up what requests need."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := (await read_request(reader))[0]) != b"":
            if head.startswith(b"GET /events"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: open\n\n")
                await reader.read()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async def main() -> None:
        async with running(app, bounds=UpstreamBounds(connections=2)) as edge:
            pages = [await edge.connect() for _ in range(5)]
            for reader, writer in pages:
                writer.write(GET.replace(b"/a", b"/events"))
                async with asyncio.timeout(30):
                    assert b"data: open" in await reader.readuntil(b"open\n\n")
            assert (await edge.ask(GET)).endswith(b"hi")
            for _, writer in pages:
                writer.close()

    uvloop.run(main())
