"""The feeds of the HTTP corpus: nothing lost, and read by the other side in the pieces that were meant."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
import uvloop

from tests.support.http_feeds import FEEDS, at_random, by_byte, feed, whole

STREAM = b"POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabcGET"


class Taking(asyncio.Protocol):
    """Keeps each read; ends with the client's end."""

    def __init__(self, reads: list[bytes]) -> None:
        self._reads = reads

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._reads.append(data)

    def eof_received(self) -> bool:
        self._transport.write(b"bye")
        return False


def reads_of(name: str) -> list[bytes]:
    """Return the reads in which a stream arrives."""

    async def main() -> list[bytes]:
        reads: list[bytes] = []
        server = await asyncio.get_running_loop().create_server(lambda: Taking(reads), "127.0.0.1", 0)
        async with server:
            assert await feed(server.sockets[0].getsockname()[1], FEEDS[name](STREAM)) == b"bye"
        return reads

    return uvloop.run(main())


@pytest.mark.parametrize("name", FEEDS)
def test_feeds_arrive_in_pieces(name: str) -> None:
    """Every byte once, in order; a busy kernel may join a few pieces, not most."""
    pieces = FEEDS[name](STREAM)
    reads = reads_of(name)
    assert b"".join(pieces) == b"".join(reads) == STREAM
    assert 0.8 * len(pieces) <= len(reads) <= len(pieces)


def test_random_places_repeat_by_seed() -> None:
    assert at_random(3)(STREAM) == at_random(3)(STREAM)
    assert len({tuple(at_random(seed)(STREAM)) for seed in range(20)}) > 15
    assert len(by_byte(STREAM)) == len(STREAM)
    assert whole(STREAM) == [STREAM]
    assert b"".join(at_random(1)(b"")) == b""
