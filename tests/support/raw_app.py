"""An app that answers one request with given bytes, and what became of them: at the client, on record, in the pool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from gateway.edge.services import Outcome
from tests.support.edge import Handler, read_request, running
from tests.support.http_feeds import feed

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"
AGAIN = b"GET /again HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"
_ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain"


@dataclass(frozen=True)
class Told:
    """What came of one answer."""

    head: bytes  # status line and fields that the client got
    body: bytes  # what followed
    was_reset: bool  # the client's connection ended by a reset
    outcome: Outcome | None  # as recorded; None where the exchange still went on
    pooled: bool  # the app's connection carried the next client's request too

    @property
    def status(self) -> bytes:
        """The status that the client got, b"" where it got no answer."""
        return self.head[9:12]


async def _collect(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """Return everything until the connection's end, and whether that was a reset."""
    got = b""
    try:
        while data := await reader.read(65536):
            got += data
    except ConnectionResetError:
        return got, True
    return got, False


def _saying(parts: Sequence[bytes], said: asyncio.Event, go_on: asyncio.Event | None, *, ends: bool) -> Handler:
    """An app that answers with `parts`, waits behind the first for `go_on`, tells by `said` that it is through."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /again"):
            writer.write(_ANSWERED)
        else:
            for number, part in enumerate(parts):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.005)
                if number == 0 and go_on is not None:
                    await go_on.wait()
            said.set()
            if ends:
                return
        while (head := (await read_request(reader))[0]) != b"":
            writer.write(_ANSWERED if b"GET /again" in head else b"")

    return app


def tell(*parts: bytes, request: bytes = GET, ends: bool = False, rest: bytes = b"", wait: float = 30.0) -> Told:
    """Let the app answer `request` with `parts`, the loop turning between them; another client asks afterwards.

    `ends`: the app closes its connection behind the last part. `rest` is what the client sends once the first part is
    there. `wait` bounds, in seconds, how long the exchange may take.
    """

    async def main() -> Told:
        said, go_on = asyncio.Event(), asyncio.Event()
        async with running(_saying(parts, said, go_on if rest else None, ends=ends)) as edge:
            reader, writer = await edge.connect()
            writer.write(request)
            reading = asyncio.create_task(_collect(reader))
            if rest:
                await asyncio.sleep(0.02)
                writer.write(rest)
                await asyncio.sleep(0.02)
                go_on.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await said.wait()
                    await edge.gatekeeper.ended.wait()
            outcome = edge.gatekeeper.outcomes[0][1] if edge.gatekeeper.outcomes else None
            assert (await feed(edge.port, [AGAIN])).endswith(b"again")
            carried = [stream.data for stream in edge.app.streams]
            if outcome is None:
                reading.cancel()
                writer.close()
                return Told(b"", b"", False, None, False)
            with contextlib.suppress(OSError, RuntimeError):  # uvloop's for a connection that was reset already
                writer.write_eof()
            got, was_reset = await reading
            writer.close()
            head, _, body = got.partition(b"\r\n\r\n")
            return Told(head, body, was_reset, outcome, any(b" /a HTTP" in d and b" /again" in d for d in carried))

    return uvloop.run(main())
