"""WebSockets with a real library at both ends, and the moments in which a tunnel begins and ends."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

from gateway.edge.services import EdgeTimeouts
from gateway.edge.tunnel import close_frame
from policies.reasons import Reason
from tests.support.aiohttp_app import behind
from tests.support.edge import Edge, Handler, read_head, read_request, running
from tests.unit.edge.test_live import ACCEPTED, UPGRADE, masked, opened

LARGE = hashlib.shake_128(b"frame").digest(2**20)
CHAT = ("v2.chat", "json")
CODES = web.AppKey("codes", list[int | None])


async def chat(request: web.Request) -> web.WebSocketResponse:
    """An app: echoes, tells what it was asked, closes with a code of its own when told `leave`."""
    socket = web.WebSocketResponse(protocols=("json",), max_msg_size=0)
    await socket.prepare(request)
    await socket.send_str(request.headers["Sec-WebSocket-Extensions"])
    async for message in socket:
        if message.data == "leave":
            await socket.close(code=4002, message="またね".encode())
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    request.app[CODES].append(socket.close_code)
    return socket


@contextlib.asynccontextmanager
async def chatting() -> AsyncIterator[tuple[Edge, ClientSession, list[int | None]]]:
    """A real WebSocket app behind an edge, and a client in front."""
    app = web.Application()
    codes: list[int | None] = []
    app[CODES] = codes
    app.router.add_get("/ws", chat)
    async with behind(app) as (edge, client):
        yield edge, client, codes


async def joined(client: ClientSession) -> ClientWebSocketResponse:
    return await client.ws_connect(
        "/ws", protocols=CHAT, compress=15, origin="http://app.test", autoclose=False, max_msg_size=0
    )


@pytest.mark.promise("P1.websocket-as-the-app-speaks-it")
def test_a_real_websocket_passes_as_it_is() -> None:
    """Subprotocol, compression, texts, a megabyte, pings and the client's close code: nothing of them is ours."""

    async def main() -> None:
        async with chatting() as (edge, client, codes):
            socket = await joined(client)
            assert socket.protocol == "json"
            assert "permessage-deflate" in await socket.receive_str()
            assert socket.compress == 15
            for text in ("", "受付", "x" * 125, "y" * 126, "z" * 70_000):
                await socket.send_str(text)
                assert await socket.receive_str() == text
            await socket.send_bytes(LARGE)
            assert await socket.receive_bytes() == LARGE
            await socket.ping(b"here?")
            await socket.close(code=4001, message=b"done")
            await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
            outcome = edge.gatekeeper.outcomes[0][1]
            assert (outcome.status, outcome.reason, outcome.tunnel) == (101, "", True)
            assert outcome.frames_in == 5 + 1 + 1 + 1
            assert outcome.frames_out == 1 + 5 + 1 + 1 + 1  # greeting, texts, bytes, pong, close
            assert codes == [4001]

    uvloop.run(main())


def test_the_apps_own_close_reaches_a_real_client() -> None:
    async def main() -> None:
        async with chatting() as (edge, client, _):
            socket = await joined(client)
            await socket.receive_str()
            await socket.send_str("leave")
            told = await socket.receive(2)
            assert (told.type, told.data, told.extra) == (WSMsgType.CLOSE, 4002, "またね")
            await socket.close()
            await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
            assert edge.gatekeeper.outcomes[0][1].reason == ""

    uvloop.run(main())


@pytest.mark.promise("P7.closed-websocket-says-why")
def test_the_end_of_a_session_tells_a_real_client_why() -> None:
    """1008, the reason's code for the page's script, and the 受付番号 for the help desk."""

    async def main() -> None:
        async with chatting() as (edge, client, _):
            socket = await joined(client)
            await socket.receive_str()
            edge.services.live.cut_each(edge.services.live.find("session", "s-u1"), Reason.SESSION_REVOKED)
            told = await socket.receive(2)
            assert (told.type, told.data) == (WSMsgType.CLOSE, 1008)
            assert told.extra == "session_revoked 受付番号 REQ---"
            await socket.close()

    uvloop.run(main())


@pytest.mark.parametrize(
    "last",
    [b"\x82\x05ab", b"\x82", b"\x82\x7e\x00", close_frame(1000, ""), close_frame(1000, "") + b"\x81\x00"],
    ids=["in-a-payload", "in-a-header", "in-a-length", "closed", "behind-a-close"],
)
def test_no_close_frame_where_none_fits(last: bytes) -> None:
    """Within a frame of the app, and behind its close frame, a cut is a reset and nothing else."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED + last)
        await reader.read()

    async def main() -> tuple[bytes, bool]:
        async with running(app) as edge:
            reader, writer = await opened(edge)
            got = await reader.readexactly(len(last))
            edge.services.live.cut_each(edge.services.live.all(), Reason.SESSION_REVOKED)
            was_reset = False
            try:
                while data := await asyncio.wait_for(reader.read(100), 30):
                    got += data
            except ConnectionResetError:
                was_reset = True
            writer.close()
            return got, was_reset

    assert uvloop.run(main()) == (last, True)


def test_a_close_reason_is_cut_between_characters() -> None:
    """A control frame carries 125 bytes (RFC 6455 §5.5): a longer reason loses whole characters."""
    frame = close_frame(1008, "受" * 60)
    assert (frame[1], len(frame)) == (2 + 123, 4 + 123)
    assert frame[4:].decode() == "受" * 41
    assert close_frame(1008, "a" + "受" * 60)[4:].decode() == "a" + "受" * 40


@pytest.mark.parametrize(
    "answer",
    [
        ACCEPTED.replace(b"Connection: Upgrade\r\n", b""),
        ACCEPTED.replace(b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n"),
        ACCEPTED.replace(b"Accept: ", b"Accept: x"),
    ],
    ids=["no-connection-option", "other-protocol", "other-key"],
)
def test_a_switch_that_breaks_the_handshake_is_502(answer: bytes) -> None:
    """RFC 6455 §4.1: a client has to fail such a connection, so we do."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await reader.read()

    async def main() -> bytes:
        async with running(app) as edge:
            return await edge.ask(UPGRADE)

    assert uvloop.run(main()).startswith(b"HTTP/1.1 502 ")


def test_bug_frames_overtook_those_sent_before_the_101() -> None:
    """Early frames wait as bytes; what arrives together with the 101 passed them, out of order."""

    async def main() -> bytes:
        asked: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

        async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            asked.put_nowait(writer)
            await reader.read()

        async with running(app) as edge:
            _, client = await edge.connect()
            client.write(UPGRADE + masked(b"first") + masked(b"second")[:3])
            answering = await asked.get()
            # Both in one turn of the loop: the edge finds the app's bytes first, then the client's.
            os.write(answering.get_extra_info("socket").fileno(), ACCEPTED)
            os.write(client.get_extra_info("socket").fileno(), masked(b"second")[3:])
            expected = masked(b"first") + masked(b"second")
            async with asyncio.timeout(30):
                while not edge.app.streams[0].data.endswith(masked(b"second")[3:]):  # noqa: ASYNC110  # real sockets
                    await asyncio.sleep(0.01)
            seen = edge.app.streams[0].data.partition(b"\r\n\r\n")[2]
            client.close()
            assert len(seen) == len(expected)
            return seen

    assert uvloop.run(main()) == masked(b"first") + masked(b"second")


def slow_app(end: Callable[[asyncio.StreamWriter], None]) -> Handler:
    """An app that accepts, reads until its client sends no more, then says its last words."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED)
        await reader.read()
        end(writer)
        await writer.drain()

    return handler


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110  # the other ends are real sockets
            await asyncio.sleep(0.01)


def test_bug_the_last_frames_of_a_page_that_closes_were_lost() -> None:
    """A page sends its last message and a close, and is gone: the reset of the app's connection took them with it."""

    async def main() -> None:
        goodbye = close_frame(1000, "bye")
        async with running(slow_app(lambda writer: writer.write(goodbye))) as edge:
            for politely in (True, False):
                edge.gatekeeper.ended.clear()
                reader, writer = await opened(edge)
                writer.write(masked(b"saved!") + masked(b"\x03\xe8", 8))
                if politely:
                    writer.write_eof()  # it still reads the app's answer to its close
                    assert await asyncio.wait_for(reader.read(), 30) == goodbye
                writer.close()
                await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
                stream = edge.app.streams[-1]
                await until(lambda stream=stream: stream.ended)  # type: ignore[misc]
                assert stream.data.endswith(masked(b"saved!") + masked(b"\x03\xe8", 8))
                assert not stream.reset
                outcome = edge.gatekeeper.outcomes[-1][1]
                assert (outcome.reason, outcome.frames_in) == ("", 2)

    uvloop.run(main())


def test_an_app_that_stays_after_its_client_left_is_not_waited_for() -> None:
    """The client closes its side, the app never does: the tunnel ends, with the completion of an ordinary end."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED)
        while True:
            writer.write(b"\x81\x02hi")
            await asyncio.sleep(0.05)

    async def main() -> None:
        async with running(app) as edge:
            reader, writer = await opened(edge)
            await reader.readexactly(4)
            writer.write_eof()
            sweeper, clock = edge.services.sweeper, edge.services.sweeper._clock
            await asyncio.sleep(0.1)
            assert edge.gatekeeper.outcomes == []
            sweeper._clock = lambda: clock() + 6.0
            await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
            assert edge.gatekeeper.outcomes[0][1].reason == ""
            writer.close()

    uvloop.run(main())


def test_bug_a_client_that_closed_before_the_101_kept_its_tunnel_open() -> None:
    """The end of what it sends was known before there was a tunnel, and nobody told the tunnel."""

    async def main() -> None:
        async with running(slow_app(lambda writer: writer.write(b"\x81\x00"))) as edge:
            answer = await edge.ask(UPGRADE + masked(b"all"), 2)
            assert answer.endswith(b"\r\n\r\n\x81\x00")
            assert edge.app.streams[0].data.endswith(masked(b"all"))

    uvloop.run(main())


def test_an_app_that_breaks_off_within_a_frame_is_told_of() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED + b"\x82\x05ab")

    async def main() -> None:
        async with running(app) as edge:
            reader, writer = await opened(edge)
            assert await asyncio.wait_for(reader.read(), 30) == b"\x82\x05ab"
            writer.close()
            outcome = edge.gatekeeper.outcomes[0][1]
            assert (outcome.reason, outcome.detail) == (Reason.APP_ANSWER_INVALID, "connection ended within a frame")

    uvloop.run(main())


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n"
Page = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def quiet(answer: bytes) -> Page:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await reader.read()

    return app


@pytest.mark.parametrize(
    ("answer", "after", "reason"),
    [
        (ACCEPTED, 5000.0, ""), (EVENTS, 5000.0, ""),
        (ACCEPTED, 7300.0, Reason.TIMED_OUT), (EVENTS, 7300.0, Reason.TIMED_OUT),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", 130.0, Reason.APP_TIMED_OUT),
    ],
    ids=["socket", "events", "idle-socket", "idle-events", "download"],
)  # fmt: skip
def test_bug_open_pages_were_cut_by_the_times_of_requests(answer: bytes, after: float, reason: str) -> None:
    """A quiet WebSocket ended with a request's total time, quiet events after 2 minutes: they have their own limit."""

    async def main() -> None:
        async with running(quiet(answer), timeouts=EdgeTimeouts(tunnel_idle=7200.0)) as edge:
            reader, writer = await edge.connect()
            writer.write(UPGRADE if answer is ACCEPTED else UPGRADE.replace(b"Connection: Upgrade\r\n", b""))
            await read_head(reader)
            clock = edge.services.sweeper._clock
            edge.services.sweeper._clock = lambda: clock() + after
            edge.services.sweeper.sweep()
            edge.services.live.conclude()
            assert [outcome.reason for _, outcome in edge.gatekeeper.outcomes] == ([reason] if reason else [])
            writer.close()

    uvloop.run(main())
