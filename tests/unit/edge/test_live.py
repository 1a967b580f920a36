"""Live connections over real sockets: WebSocket tunnels, cuts, connections that authenticate."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
from typing import Final, cast

import pytest
import uvloop

from gateway.edge.relay import Exchange
from gateway.edge.services import EdgeLimits
from gateway.edge.tunnel import FrameTracker, TunnelFault, close_frame
from gateway.gate.verdict import Refuse
from policies.reasons import Reason
from tests.support.edge import Edge, read_head, read_request, running
from tests.support.websocket_bytes import KEY, SWITCHED, upgrade

SIOCOUTQNSD: Final = 0x894B  # linux/sockios.h: bytes of a socket's send queue that were not sent yet
UPGRADE = upgrade(b"/ws")
ACCEPTED = SWITCHED + b"\r\n"


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """Return a client's frame (mask 0)."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A WebSocket app: echoes short frames, `cut:` pushes for ever."""
    head, _ = await read_request(reader)
    assert b"Sec-WebSocket-Key: " in head
    writer.write(ACCEPTED)
    while True:
        first, second = await reader.readexactly(2)
        size = second & 0x7F
        payload = (await reader.readexactly(4 + size))[4:]
        writer.write(bytes([first, size]) + payload)


async def opened(edge: Edge) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return an open tunnel."""
    reader, writer = await edge.connect()
    writer.write(UPGRADE)
    assert (await read_head(reader)).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def test_a_tunnel_passes_frames_and_counts_them() -> None:
    """Frames sent with the upgrade wait for the 101 and then pass; the completion has the counts."""

    async def main() -> tuple[bytes, int, int, bool]:
        async with running(echo) as edge:
            reader, writer = await edge.connect()
            writer.write(UPGRADE + masked(b"early"))
            await read_head(reader)
            writer.write(masked(b"late"))
            got = await reader.readexactly(2 + 5 + 2 + 4)
            writer.close()
            await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
            outcome = edge.gatekeeper.outcomes[0][1]
            return got, outcome.frames_in, outcome.frames_out, outcome.tunnel

    assert uvloop.run(main()) == (b"\x81\x05early\x81\x04late", 2, 2, True)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Version: 13", b"Version: 8"), b"426"),
        ((KEY, b"short"), b"400"),
        ((b"GET", b"POST"), b"400"),
    ],
)
def test_upgrades_that_are_not_ours_to_pass(change: tuple[bytes, bytes], status: bytes) -> None:
    """Wrong version, key or method: refused, the app hears nothing."""

    async def main() -> tuple[bytes, int]:
        async with running(echo) as edge:
            return await edge.ask(UPGRADE.replace(*change)), len(edge.app.streams)

    answer, connections = uvloop.run(main())
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert connections == 0


@pytest.mark.promise("P3.cut-resets-live-connections")
def test_a_cut_tunnel_gets_a_close_frame_and_a_reset() -> None:
    """An idle tunnel reads close 1008, then a reset; the record carries the reason."""

    async def main() -> tuple[bytes, bool, str, int]:
        async with running(echo) as edge:
            reader, writer = await opened(edge)
            writer.write(masked(b"hi"))
            await reader.readexactly(4)
            ended = edge.services.live.cut_each(edge.services.live.find("user", "u1"), Reason.SESSION_REVOKED)
            got, was_reset = b"", False
            try:
                while data := await reader.read(100):
                    got += data
            except ConnectionResetError:
                was_reset = True
            writer.close()
            return got, was_reset, edge.gatekeeper.outcomes[0][1].reason, sum(ended.values())

    told = close_frame(1008, "session_revoked 受付番号 REQ---")
    assert uvloop.run(main()) == (told, True, "session_revoked", 1)


def unsent(transport: asyncio.Transport) -> int:
    """Bytes accepted for a client that have not left: in the transport, and unsent in the kernel."""
    sock = transport.get_extra_info("socket")
    answer = fcntl.ioctl(sock.fileno(), SIOCOUTQNSD, bytes(4))
    return transport.get_write_buffer_size() + int.from_bytes(answer, sys.byteorder)


@pytest.mark.promise("P3.cut-leaves-little-in-flight")
def test_a_cut_download_stops_at_once() -> None:
    """What is accepted for a client that reads nothing stays within 128 KiB; after the cut nothing more leaves."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def main() -> tuple[int, int, int, str]:
        async with running(flood) as edge:
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=2**14)
            writer.write(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            await read_head(reader)
            before, largest, still = -1, 0, 0
            exchange = cast("Exchange", edge.services.live.all()[0])
            transport = cast("asyncio.Transport", next(iter(edge.listeners._connections)).transport)
            while still < 100:  # until back-pressure has stopped everything
                still = still + 1 if before == exchange.response_bytes else 0
                before = exchange.response_bytes
                largest = max(largest, unsent(transport))
                await asyncio.sleep(0.001)
            exchange.cut(Reason.USER_LOCKED)
            got = 0
            try:
                while data := await reader.read(2**20):
                    got += len(data)
            except ConnectionResetError:
                pass
            writer.close()
            return before, got, largest, edge.gatekeeper.outcomes[0][1].reason

    relayed, got, largest, reason = uvloop.run(main())
    assert reason == "user_locked"
    assert 0 < largest <= 128 * 1024
    assert relayed - largest < got < relayed + relayed // 1000  # chunk framing comes on top


def test_live_exchanges_are_found_by_session_user_app_and_settle() -> None:
    """The registry finds a young and a settled exchange, and forgets it when it ends."""

    async def main() -> list[int]:
        async with running(echo) as edge:
            _, writer = await opened(edge)
            live = edge.services.live
            counts = [len(live.find("session", "s-u1")), len(live.find("app", "app")), len(live.find("user", "u2"))]
            live.settle()
            counts += [len(live.find("session", "s-u1")), len(live.find("app", "app")), len(live.find("user", "u2"))]
            writer.close()
            await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
            return [*counts, len(live)]

    assert uvloop.run(main()) == [1, 1, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        (masked(b"x" * 101), 1009, "too_large"),
        (b"\x81\x02hi", 1002, "malformed_request"),
        (b"\x82\xff" + b"\xff" * 8 + bytes(4), 1009, "too_large"),
    ],
)
def test_frame_limits_and_masking(frame: bytes, code: int, reason: str) -> None:
    """A frame over the limit and an unmasked client frame end the tunnel, with a code of RFC 6455 §7.4.1."""

    async def main() -> tuple[bytes, str, str, bytes]:
        async with running(echo, limits=EdgeLimits(frame_bytes=100)) as edge:
            reader, writer = await opened(edge)
            writer.write(frame)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while data := await asyncio.wait_for(reader.read(1000), 30):
                    got += data
            writer.close()
            await asyncio.wait_for(edge.gatekeeper.ended.wait(), 30)
            outcome = edge.gatekeeper.outcomes[0][1]
            assert edge.services.reached == ({"frame_bytes": 1} if reason == "too_large" else {})
            return got, outcome.reason, outcome.detail, edge.app.streams[0].data.partition(b"\r\n\r\n")[2]

    got, told, detail, passed = uvloop.run(main())
    assert (got, told) == (close_frame(code, f"{reason} 受付番号 REQ---"), reason)
    assert detail.endswith("; sent by the client")
    assert passed == b""


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200000])
@pytest.mark.parametrize("step", [1, 7, 4096, 10**6])
def test_the_tracker_finds_every_boundary(size: int, step: int) -> None:
    """However a stream of frames is split, counts and boundaries are the same."""
    header = bytes([0x82]) + (
        bytes([size]) if size < 126
        else b"\x7e" + size.to_bytes(2, "big") if size < 65536
        else b"\x7f" + size.to_bytes(8, "big")
    )  # fmt: skip
    stream = (header + os.urandom(size)) * 2
    tracker = FrameTracker(10**6, masked=False, extended=False)
    for place in range(0, len(stream), step):
        tracker.feed(stream[place : place + step])
        seen = min(place + step, len(stream))
        assert tracker.at_boundary is (seen % (len(header) + size) == 0)

    assert tracker.frames == 2
    with pytest.raises(TunnelFault):
        FrameTracker(10, masked=True, extended=False).feed(b"\x81\x00")


async def ntlm_app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that authenticates the connection: who shook hands first on it is who every later request comes from."""
    owner = b""
    while True:
        head, _ = await read_request(reader)
        if not head:
            return
        if b"Authorization: NTLM " in head:
            owner = head.split(b"Authorization: NTLM ")[1].split(b"\r\n")[0]
        if owner:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(owner), owner))
        else:
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.promise("P1.ntlm-never-shared")
def test_an_authenticated_connection_is_never_shared() -> None:
    """Two people one after the other, on one client connection and on two: nobody is taken for the other."""

    def request(person: bytes, token: bytes = b"") -> bytes:
        authorization = b"Authorization: NTLM %b\r\n" % token if token else b""
        return b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Person: %b\r\n%b\r\n" % (person, authorization)

    async def main() -> list[bytes]:
        async with running(ntlm_app) as edge:
            reader, writer = await edge.connect()
            answers = []
            for sent in (request(b"a"), request(b"a", b"alice"), request(b"a"), request(b"b"), request(b"a")):
                writer.write(sent)
                head = await read_head(reader)
                size = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                answers.append(head[9:12] + b" " + await reader.readexactly(size))
            other = await edge.ask(request(b"b"))
            writer.close()
            return [*answers, other[9:12]]

    assert uvloop.run(main()) == [b"401 ", b"200 alice", b"200 alice", b"401 ", b"401 ", b"401"]


def test_a_refusal_with_a_body_ends_the_connection() -> None:
    """A body that nobody reads is never taken for the next request (security V49)."""

    async def main() -> tuple[bytes, int]:
        async with running(echo) as edge:
            edge.gatekeeper.refuse = lambda request: Refuse("REQ", {}, 403, Reason.DENIED_BY_RULE)
            smuggled = b"GET /admin HTTP/1.1\r\nHost: app.test\r\n\r\n"
            head = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
            reader, writer = await edge.connect()
            writer.write(head + smuggled)
            answer = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            return answer, len(edge.gatekeeper.judged)

    answer, judged = uvloop.run(main())
    assert answer.count(b"HTTP/1.1 403 ") == 1
    assert judged == 1
