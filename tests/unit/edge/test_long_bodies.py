"""Long bodies: nothing of them is lost, doubled or mixed with another's.

Answers go on from where they were read, and all connections of a worker read into the same memory: what matters are
sockets that do not take a piece at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import ssl
from pathlib import Path

import pytest
import uvloop

from gateway.edge.long_body import LongBodies
from policies.reasons import Reason
from tests.support.edge import Edge, hello, read_head, read_request, running
from tests.support.server_pairs import ServerAuthority, server_context

SIZE = 2**20 + 17
LONG = 12 * 2**20 + 5  # more than the kernel holds for an app that does not read
UPLOADS = 3
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def blob(number: int) -> bytes:
    """What one connection carries; no two have a piece in common."""
    return hashlib.shake_128(b"%d" % number).digest(SIZE)


def asking(number: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: app.test\r\n\r\n" % number


def bringing(number: int, size: int = SIZE) -> bytes:
    return b"POST /%d HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n" % (number, size)


async def giving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that gives each path a body of its own."""
    while True:
        head, _ = await read_request(reader)
        if not head:
            return
        writer.write(OK % SIZE + blob(int(head.split(b" ")[1][1:])))
        await writer.drain()


def narrow() -> socket.socket:
    """A client's socket that has little room for what it does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    sock.setblocking(False)
    return sock


async def slowly(edge: Edge, number: int, tls: ssl.SSLContext | None) -> tuple[int, str]:
    """Read two answers as somebody who stops now and then; returns the number, and a digest of what came."""
    sock = narrow()
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", edge.port))
    name = None if tls is None else "app.test"
    reader, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name, limit=16384)
    pace, got = random.Random(number), hashlib.sha256()  # noqa: S311  # the same pauses in each run
    for _ in range(2):
        writer.write(asking(number))
        await read_head(reader)
        left = SIZE
        while left:
            piece = await reader.read(min(left, pace.choice((1, 1000, 50_000))))
            assert piece
            left -= len(piece)
            got.update(piece)
            if pace.random() < 0.1:
                await asyncio.sleep(0.001)
    writer.close()
    return number, got.hexdigest()


@pytest.mark.parametrize("encrypted", [False, True])
def test_downloads_of_slow_clients_stay_apart(tmp_path: Path, encrypted: bool) -> None:
    """Eight clients that do not keep up, at once: each gets its own bytes, and the records count them."""
    authority = ServerAuthority(tmp_path)
    pair = authority.issue("app", "app.test").pair
    served = server_context(pair.certificate, pair.key, None) if encrypted else None
    trusting = ssl.create_default_context(cafile=str(authority.ca)) if encrypted else None

    async def main() -> list[int]:
        async with running(giving, listener="public" if encrypted else "loopback", tls=served) as edge:
            for number, digest in await asyncio.gather(*(slowly(edge, each, trusting) for each in range(8))):
                assert digest == hashlib.sha256(blob(number) * 2).hexdigest()
            return [outcome.response_bytes for _, outcome in edge.gatekeeper.outcomes]

    assert uvloop.run(main()) == [SIZE] * 16


@pytest.mark.parametrize("encrypted", [False, True])
def test_uploads_to_a_slow_app_stay_apart(tmp_path: Path, encrypted: bool) -> None:
    """Clients that send faster than the app takes: it gets each body whole, and what comes behind as a request."""
    stuck = asyncio.Event()
    authority = ServerAuthority(tmp_path)
    pair = authority.issue("app", "app.test").pair
    served = server_context(pair.certificate, pair.key, None) if encrypted else None
    trusting = ssl.create_default_context(cafile=str(authority.ca)) if encrypted else None

    async def taking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await read_head(reader)
                await stuck.wait()
                left, got = LONG if head.startswith(b"POST") else 0, hashlib.sha256()
                while left:
                    piece = await reader.read(min(left, 300_000))
                    left -= len(piece)
                    got.update(piece)
                text = got.hexdigest().encode()
                writer.write(OK % len(text) + text)
        writer.close()

    async def send(edge: Edge, number: int) -> None:
        body = random.Random(number).randbytes(LONG)  # noqa: S311  # the same bytes in each run
        name = "app.test" if encrypted else None
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, ssl=trusting, server_hostname=name)
        writer.write(bringing(number, LONG) + body + asking(number))
        for sent in (body, b""):
            assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(64) == hashlib.sha256(sent).hexdigest().encode()
        writer.close()

    async def all_held(edge: Edge) -> None:
        """Wait until the app's sockets are full: the worker holds what they did not take."""
        async with asyncio.timeout(30):
            while sum(each.held for each in edge.listeners._connections) < UPLOADS:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        stuck.set()

    async def main() -> list[int]:
        app = await asyncio.start_server(taking, "127.0.0.1", 0, limit=16384)
        at = f"http://127.0.0.1:{app.sockets[0].getsockname()[1]}"
        listener = "public" if encrypted else "loopback"
        async with app, running(hello, listener=listener, tls=served, upstream=at) as edge:
            await asyncio.gather(*(send(edge, number) for number in range(UPLOADS)), all_held(edge))
            return sorted(outcome.request_bytes for _, outcome in edge.gatekeeper.outcomes)

    assert uvloop.run(main()) == [0] * UPLOADS + [LONG] * UPLOADS


@pytest.mark.parametrize("encrypted", [False, True])
def test_one_connection_brings_bodies_of_all_kinds(tmp_path: Path, encrypted: bool) -> None:
    """Behind its first long body a connection is read otherwise: what it brings then, long or short, arrives whole."""
    sizes = [SIZE, 0, 10, 65536, 70_000, SIZE, 262_144, 300_000, 8192, 2**20, 1]
    authority = ServerAuthority(tmp_path)
    pair = authority.issue("app", "app.test").pair
    served = server_context(pair.certificate, pair.key, None) if encrypted else None
    trusting = ssl.create_default_context(cafile=str(authority.ca)) if encrypted else None

    async def digesting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_request(reader)
            if not head:
                return
            text = hashlib.sha256(body).hexdigest().encode()
            writer.write(OK % len(text) + text)

    async def sent(writer: asyncio.StreamWriter, turn: int, size: int) -> bytes:
        body = random.Random(turn).randbytes(size)  # noqa: S311  # the same bytes in each run
        if turn % 4 == 3:
            writer.write(b"POST /c HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, size, 50_000):
                piece = body[at : at + 50_000]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(bringing(turn, size) + body)
        await writer.drain()
        return body

    async def main() -> tuple[list[int], set[type]]:
        async with running(digesting, listener="public" if encrypted else "loopback", tls=served) as edge:
            name = "app.test" if encrypted else None
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, ssl=trusting, server_hostname=name)
            for ahead in (1, 3):  # each answered before the next, and several at once
                for start in range(0, len(sizes), ahead):
                    bodies = [await sent(writer, start + at, size) for at, size in enumerate(sizes[start:][:ahead])]
                    for body in bodies:
                        assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
                        assert await reader.readexactly(64) == hashlib.sha256(body).hexdigest().encode()
            transports = [each.transport for each in edge.listeners._connections]
            writer.close()
            read_as = {type(each.get_protocol()) for each in transports if each is not None}
            return [outcome.request_bytes for _, outcome in edge.gatekeeper.outcomes], read_as

    assert uvloop.run(main()) == (sizes * 2, {LongBodies})


def test_an_answer_within_a_long_body_ends_the_connection() -> None:
    """The app answers before it has all: the client is told, and what still comes is never taken for a request."""

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(300_000)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await reader.read()

    async def main() -> tuple[bytes, int, bool, int]:
        async with running(refusing) as edge:
            reader, writer = await edge.connect()
            writer.write(bringing(1, 2**30) + bytes(300_000))
            head = await read_head(reader)
            body = await reader.readexactly(2)
            writer.write(asking(2))
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            outcome = edge.gatekeeper.outcomes[0][1]
            assert b"Connection: close" in head
            return body, outcome.request_bytes, outcome.aborted, len(edge.gatekeeper.judged)

    assert uvloop.run(main()) == (b"no", 300_000, True, 1)


def test_a_long_body_that_breaks_off_is_recorded_to_the_byte() -> None:
    """The client ends its side within the body, or is cut by a revocation: the app never has a whole request."""

    async def main(revoked: bool) -> tuple[str, int, bool, bool]:
        async with running(hello) as edge:
            reader, writer = await edge.connect()
            writer.write(bringing(1) + bytes(700_000))
            async with asyncio.timeout(30):
                while not (live := edge.services.live.all()) or live[0].outcome().request_bytes < 700_000:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            if revoked:
                edge.services.live.cut_each(live, Reason.SESSION_REVOKED)
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            else:
                writer.write_eof()
                assert (await read_head(reader)).startswith(b"HTTP/1.1 400 ")
            async with asyncio.timeout(30):
                await edge.gatekeeper.ended.wait()
                while not edge.app.streams[0].ended:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            writer.close()
            outcome = edge.gatekeeper.outcomes[0][1]
            return outcome.reason, outcome.request_bytes, outcome.aborted, edge.app.streams[0].reset

    assert uvloop.run(main(False)) == (Reason.MALFORMED_REQUEST, 700_000, True, True)
    assert uvloop.run(main(True)) == (Reason.SESSION_REVOKED, 700_000, True, True)


def test_bytes_behind_a_long_answer_cut_it() -> None:
    """One byte too many with the last piece: that piece goes to nobody, and the record says why."""
    last = 1000

    async def main() -> tuple[bytes, str]:
        taken = asyncio.Event()

        async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(OK % SIZE + blob(1)[:-last])
            await taken.wait()
            writer.write(blob(1)[-last:] + b"!")  # small, and nothing before it is left: it arrives in one piece
            await reader.read()

        async with running(talking) as edge:
            reader, writer = await edge.connect()
            writer.write(asking(1))
            await read_head(reader)
            got = await reader.readexactly(SIZE - last)
            taken.set()
            with pytest.raises(ConnectionResetError):
                got += await reader.read()
            writer.close()
            return got, edge.gatekeeper.outcomes[0][1].reason

    assert uvloop.run(main()) == (blob(1)[:-last], Reason.APP_ANSWER_INVALID)


def test_bug_a_body_piled_up_while_its_decision_was_recorded() -> None:
    """Half a mebibyte was kept for each upload, copied three times, and counted as a client that asks too far ahead."""

    async def main() -> tuple[bytes, int, dict[str, int]]:
        async with running(hello) as edge:
            kept = edge.gatekeeper.hold_records = []
            reader, writer = await edge.connect()
            writer.write(bringing(1) + blob(1))
            async with asyncio.timeout(30):
                while not kept or not (held := [each for each in edge.listeners._connections if each.held]):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            most = len(held[0].buffer)
            edge.gatekeeper.hold_records = None
            kept[0](None)
            await read_head(reader)
            got = await reader.readexactly(len(str(SIZE)))
            writer.close()
            return got, most, dict(edge.services.reached)

    got, most, reached = uvloop.run(main())
    assert (got, reached) == (str(SIZE).encode(), {})
    assert most <= 65536 + 256_000  # one read over the bound
