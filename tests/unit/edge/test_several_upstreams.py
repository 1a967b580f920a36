"""Apps on several servers, over real sockets: the choice, another server where one fails, what is never sent twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import uvloop

from gateway.edge.services import EdgeTimeouts, UpstreamBounds
from tests.support.edge import Edge, Handler, RecordingApp, app_at, read_head, read_request, running
from tests.support.ports import free_port

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nab"


def named(name: bytes) -> Handler:
    """An app that answers with its name, on connections that go on."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await read_request(reader))[0]:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    return app


async def dropping(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """An app that takes a request and ends the connection."""
    await read_request(reader)


async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that answers something that is no HTTP."""
    await read_request(reader)
    writer.write(b"HELLO\r\n\r\n")


@contextlib.asynccontextmanager
async def second(handler: Handler, edge: Edge, **changes: object) -> AsyncIterator[RecordingApp]:
    """Put a second server of this kind beside the edge's app; `changes` are of the registration."""
    app = RecordingApp(handler)
    server = await asyncio.start_server(app.serve, "127.0.0.1", 0)
    app.port = server.sockets[0].getsockname()[1]
    addresses = (f"http://127.0.0.1:{edge.app.port}", f"http://127.0.0.1:{app.port}")
    edge.gatekeeper.app = app_at("", **{"upstreams": addresses, "affinity": "none", **changes})
    try:
        yield app
    finally:
        server.close()


def nobody() -> str:
    """An address that refuses connections."""
    return f"http://127.0.0.1:{free_port()}"


def body_of(answer: bytes) -> bytes:
    """What follows the head of an answer with 200."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    return body


def test_the_server_with_fewer_requests_in_flight_is_chosen_and_tunnels_count() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: open\n\n")
        await reader.read()

    async def main() -> None:
        async with running(app) as edge, second(app, edge) as other:
            pages = [await edge.connect() for _ in range(8)]
            for reader, writer in pages:
                writer.write(GET)
                async with asyncio.timeout(30):
                    await reader.readuntil(b"open\n\n")
            assert (len(edge.app.streams), len(other.streams)) == (4, 4)
            pools = edge.services.pools.counted()["app"]
            assert [pool["load"] for pool in pools] == [4, 4]
            for _, writer in pages:
                writer.close()

    uvloop.run(main())


def test_an_app_session_stays_with_one_server() -> None:
    async def main() -> set[bytes]:
        async with running(named(b"first")) as edge, second(named(b"other"), edge, affinity="session"):
            homes = set()
            for person in range(12):
                request = GET.replace(b"\r\n\r\n", b"\r\nX-Person: p%d\r\n\r\n" % person)
                answers = {body_of(await edge.ask(request)) for _ in range(3)}
                assert len(answers) == 1
                homes |= answers
            return homes

    assert uvloop.run(main()) == {b"first", b"other"}


@pytest.mark.promise("P1.dead-app-is-told-at-once")
@pytest.mark.parametrize("request_bytes", [GET, POST])
def test_where_no_byte_went_out_another_server_takes_the_request_at_once(request_bytes: bytes) -> None:
    async def main() -> None:
        async with running(named(b"first")) as edge:
            well = f"http://127.0.0.1:{edge.app.port}"
            edge.gatekeeper.app = app_at("", upstreams=(nobody(), well, nobody()), affinity="none")
            for _ in range(12):
                assert body_of(await edge.ask(request_bytes)) == b"first"
            counted = edge.services.pools.counted()["app"]
            assert [(pool["open"], pool["opens"], pool["failed"]) for pool in counted] == [
                (True, 1, 3), (False, 0, 0), (True, 1, 3),
            ]  # fmt: skip
            assert len(edge.gatekeeper.records) == len(edge.gatekeeper.outcomes) == 12

    uvloop.run(main())


@pytest.mark.parametrize(("request_bytes", "status"), [(GET, b"200"), (POST, b"502")])
def test_a_request_that_was_sent_is_sent_again_once_and_only_where_it_reads(
    request_bytes: bytes, status: bytes
) -> None:
    """RFC 9110 §9.2.2: what may have been done is not done again."""

    async def main() -> None:
        async with running(dropping) as edge, second(named(b"other"), edge) as other:
            lost = 0
            for _ in range(4):
                before = len(edge.app.streams)
                answer = await edge.ask(request_bytes)
                if len(edge.app.streams) > before:
                    lost += 1
                    assert answer.startswith(b"HTTP/1.1 " + status), answer
            assert lost
            sent = b"".join(stream.data for stream in other.streams).count(b" /a HTTP/1.1")
            assert sent == (4 if request_bytes == GET else 4 - lost)

    uvloop.run(main())


@pytest.mark.parametrize("handler", [dropping, broken])
def test_a_server_that_answers_badly_is_left_alone_while_another_answers(handler: Handler) -> None:
    async def main() -> None:
        async with running(handler) as edge, second(named(b"other"), edge):
            for _ in range(10):
                await edge.ask(POST)
            bad, good = edge.services.pools.counted()["app"]
            assert (bad["open"], bad["opens"], good["opens"]) == (True, 1, 0)
            assert len(edge.app.streams) == 3
            assert body_of(await edge.ask(GET)) == b"other"
        async with running(handler) as edge:  # the only one: asking it costs nobody a time limit
            for _ in range(10):
                assert (await edge.ask(POST)).startswith(b"HTTP/1.1 502 ")
            assert len(edge.app.streams) == 10

    uvloop.run(main())


@pytest.mark.promise("P1.dead-app-is-told-at-once")
def test_where_every_server_is_down_the_answer_comes_without_asking_them() -> None:
    async def main() -> None:
        bounds = UpstreamBounds(breaker_failures=1, breaker_first=60.0, breaker_longest=60.0)
        async with running(named(b"first"), bounds=bounds) as edge:
            edge.gatekeeper.app = app_at("", upstreams=(nobody(), nobody()), affinity="none")
            assert (await edge.ask(GET)).startswith(b"HTTP/1.1 502 ")
            for _ in range(5):
                answer = await edge.ask(GET)
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert answer.endswith(b"app_unreachable")
            counted = edge.services.pools.counted()["app"]
            assert [pool["failed"] for pool in counted] == [1, 1]
            assert sum(pool["stopped"] for pool in counted) == 5
            assert [outcome.reason for _, outcome in edge.gatekeeper.outcomes] == ["app_unreachable"] * 6

    uvloop.run(main())


def test_a_server_that_hangs_is_left_alone_and_comes_back_by_one_request() -> None:
    awake = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await read_request(reader))[0]:
            await awake.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")

    async def main() -> None:
        limits = EdgeTimeouts(upstream_first_byte=0.3)
        bounds = UpstreamBounds(breaker_failures=2, breaker_first=0.1, breaker_longest=0.4)
        async with running(app, timeouts=limits, bounds=bounds) as edge:
            answers = await asyncio.gather(*(edge.ask(GET) for _ in range(3)))
            assert all(answer.startswith(b"HTTP/1.1 504 ") for answer in answers)
            assert edge.services.pools.counted()["app"][0]["open"]
            awake.set()
            async with asyncio.timeout(30):
                while not (await edge.ask(GET)).startswith(b"HTTP/1.1 200 "):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert not edge.services.pools.counted()["app"][0]["open"]

    uvloop.run(main())


def test_an_app_has_time_of_its_own_for_an_answer() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await read_request(reader))[0]:
            await asyncio.sleep(1.0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nreport")

    async def main() -> None:
        async with running(app, timeouts=EdgeTimeouts(upstream_first_byte=0.2)) as edge:
            assert (await edge.ask(GET)).startswith(b"HTTP/1.1 504 ")
            edge.gatekeeper.app = replace(edge.gatekeeper.app, upstream_first_byte=30.0)
            assert body_of(await edge.ask(GET)) == b"report"

    uvloop.run(main())


def test_addresses_of_every_server_are_hidden_in_redirects() -> None:
    async def main() -> None:
        async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            place = f"http://127.0.0.1:{edge.services.pools.of(edge.gatekeeper.app).others[0].upstream.port}/next"
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())

        async with running(app) as edge, second(app, edge):
            for _ in range(4):
                assert b"\r\nLocation: http://app.test/next\r\n" in await edge.ask(GET)

    uvloop.run(main())


def test_a_changed_registration_keeps_the_servers_that_it_does_not_change() -> None:
    async def main() -> None:
        async with running(named(b"first")) as edge, second(named(b"other"), edge):
            pools, app = edge.services.pools, edge.gatekeeper.app
            kept = pools.of(app)
            both = {kept, *kept.others}
            renamed = replace(app, title="Other title")
            found = pools.of(renamed)
            assert {found, *found.others} == both
            alone = replace(app, upstream=app.upstreams[1], upstreams=())
            sole = pools.of(alone)
            assert sole in both
            assert sole.others == ()
            assert sole.origins == {app.upstreams[1].encode()}
            pools.keep(["another"])
            assert pools.counted() == {}

    uvloop.run(main())
