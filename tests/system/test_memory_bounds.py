"""What a hostile client can make a worker keep: its memory grows by less than 32 MB, in the short form and the long.

`make torture` takes the long one: 10,000 pipelined requests, a line of 100 MB in 1-byte writes, a million one-byte
chunks, a million random paths, 500 stalled handshakes, 5,000 clients that do not read their answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.edge import read_head, read_request
from tests.support.running_city import HOST, RunningCity, running_city

LONG = b"b" * 160_000
ROOM = 32_000_000  # bytes that the worker may grow by
MANY = 64_000_000  # what 5,000 requests in flight take by themselves, 12 KB each
WIDE = {
    "SEKISHO_WORKERS__COUNT": "1",
    "SEKISHO_LIMITS__CONNECTIONS_PER_ADDRESS": "8000",
    "SEKISHO_LIMITS__STREAMS_PER_SESSION": "10000",
    "SEKISHO_LIMITS__READ_MIN_RATE": "1",
    "SEKISHO_UPSTREAMS__CONNECTIONS": "8000",
    "SEKISHO_TIMEOUTS__OVERLOAD_LAG": "10",
    "SEKISHO_LIMITS__ADDRESS_RATE": '{"per_second": 1000000, "burst": 1000000}',
    "SEKISHO_LIMITS__USER_RATE": '{"per_second": 1000000, "burst": 1000000}',
    "SEKISHO_LIMITS__SESSION_RATE": '{"per_second": 1000000, "burst": 1000000}',
}


class Attack:
    """One worker, what it takes from whom, and how much memory it had."""

    def __init__(self, city: RunningCity, torture: bool) -> None:
        self.city = city
        self.torture = torture
        self.pid = city.pid("worker-0")
        host, port = city.status["listeners"]["loopback"].rsplit(":", 1)
        self.address = host, int(port)

    def head(self, method: str, path: str, *lines: str, signed_in: bool = True) -> bytes:
        cookie = (f"Cookie: __Host-sekisho-app={self.city.token}",) if signed_in else ()
        return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {HOST}", *cookie, *lines, "", "")).encode()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, limit=2**20)

    def peak(self) -> int:
        """The most memory the worker had since `forget`, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def forget(self) -> int:
        """Begin anew with what the worker has now, and return that."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self.peak()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """One whole answer; returns its head."""
    head = await read_head(reader)
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return head


async def pipelined(attack: Attack) -> str:
    """Requests far ahead of their answers, which nobody takes until all are sent."""
    count = 10_000 if attack.torture else 1_000
    reader, writer = await attack.connect()
    asked = attack.head("GET", "/x")
    sent = asyncio.create_task(_send(writer, asked, count))
    await asyncio.sleep(1 if attack.torture else 0.2)
    for _ in range(count):
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")
    await sent
    writer.close()
    return f"{count:,} pipelined requests, all answered"


async def _send(writer: asyncio.StreamWriter, data: bytes, count: int) -> None:
    for _ in range(count):
        writer.write(data)
        await writer.drain()


async def endless_line(attack: Attack) -> str:
    """A request line in 1-byte writes; a connection that is closed is followed by the next."""
    size = 100_000_000 if attack.torture else 60_000
    sent = connections = 0
    loop = asyncio.get_running_loop()
    while sent < size:
        connections += 1
        with socket.socket() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            await loop.sock_connect(sock, attack.address)
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, b"GET /")
                while sent < size:
                    try:
                        for _ in range(1000):
                            sent += sock.send(b"a")
                    except BlockingIOError:  # the worker reads later than this writes
                        await loop.sock_sendall(sock, b"a")
                        sent += 1
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
    return f"a line of {sent:,} bytes in 1-byte writes over {connections} connections"


async def tiny_chunks(attack: Attack) -> str:
    """Bodies in one-byte chunks, refused after the first thousands; what still comes is read and dropped."""
    count = 1_000_000 if attack.torture else 50_000
    sent = connections = 0
    while sent < count:
        connections += 1
        reader, writer = await attack.connect()
        writer.write(attack.head("POST", "/x", "Transfer-Encoding: chunked"))
        sending = asyncio.create_task(_send(writer, b"1\r\nx\r\n" * 1000, 50))
        with contextlib.suppress(ConnectionError):
            assert (await read_head(reader)).startswith(b"HTTP/1.1 400 ")
            await sending
        sending.cancel()
        sent += 50_000
        writer.close()
    return f"{sent:,} one-byte chunks over {connections} connections"


async def random_paths(attack: Attack) -> str:
    """Paths that were never seen, by strangers and by somebody who is signed in."""
    count = 1_000_000 if attack.torture else 4_000

    async def ask(share: int, signed_in: bool) -> None:
        reader, writer = await attack.connect()
        for at in range(share):
            if at % 5000 == 4999:  # connections carry so many requests
                writer.close()
                reader, writer = await attack.connect()
            writer.write(attack.head("GET", "/" + os.urandom(16).hex(), signed_in=signed_in))
            assert (await answer(reader)).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 401 "))
        writer.close()

    await asyncio.gather(*(ask(count // 8, bool(place % 2)) for place in range(8)))
    return f"{count:,} random paths"


async def stalled_handshakes(attack: Attack) -> str:
    """Half a ClientHello on each connection, then nothing."""
    count = 500 if attack.torture else 100
    host, port = attack.city.status["listeners"]["public"].rsplit(":", 1)
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    for _, writer in opened:
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(100))
    async with asyncio.timeout(60):
        for reader, writer in opened:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
    return f"{count} stalled handshakes, ended by the worker"


async def slow_readers(attack: Attack) -> str:
    """Answers that nobody takes: as many bodies stand in the worker as there are clients, and others are served."""
    count = 5_000 if attack.torture else 400
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as opened:
        stuck = []
        for _ in range(count):
            sock = opened.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, attack.address)
            await loop.sock_sendall(sock, attack.head("GET", "/long"))
            stuck.append(sock)
        for sock in stuck:
            assert await loop.sock_recv(sock, 1) == b"H"  # its first piece was passed on: the rest of that waits
        reader, writer = await attack.connect()
        writer.write(attack.head("GET", "/long"))
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()
    return f"{count:,} clients that take nothing of a long answer"


ATTACKS = [pipelined, endless_line, tiny_chunks, random_paths, stalled_handshakes, slow_readers]


async def sized(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that says how large each body was; one path has a long answer."""
    with contextlib.suppress(ConnectionError):  # the gateway resets what it refuses
        while True:
            head, body = await read_request(reader)
            if not head:
                return
            text = LONG if head.startswith(b"GET /long ") else b"%d" % len(body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
            await writer.drain()


@contextlib.asynccontextmanager
async def under_attack(folder: Path, torture: bool) -> AsyncIterator[Attack]:
    """One worker in front of an app that reads bodies and answers with their size."""
    server = await asyncio.start_server(sized, "127.0.0.1", 0, limit=2**24)
    settings = {**WIDE, "SEKISHO_TIMEOUTS__TLS_HANDSHAKE": "10" if torture else "1"}
    async with running_city(folder, **settings) as city:
        await city.furnish(upstream=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield Attack(city, torture)
    server.close()


@pytest.mark.timeout(1800)
@pytest.mark.one_stack
@pytest.mark.promise("P1.attacks-take-no-memory")
def test_no_client_makes_a_worker_grow(tmp_path: Path, torture: bool, figure: Callable[[str], None]) -> None:
    async def run() -> None:
        async with under_attack(tmp_path, torture) as attack:
            for kind in ATTACKS:
                await _measured(attack, kind, figure)

    asyncio.run(run())


async def _measured(attack: Attack, kind: Callable[[Attack], Awaitable[str]], figure: Callable[[str], None]) -> None:
    before = attack.forget()
    done = await kind(attack)
    grown = attack.peak() - before
    figure(f"{done}: the worker grew by {grown / 1e6:.1f} MB")
    assert grown < ROOM + (MANY if attack.torture and kind is slow_readers else 0), done
    assert attack.city.pid("worker-0") == attack.pid
