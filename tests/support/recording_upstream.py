"""An app that writes down each request the moment it has it: what it saw, told by itself, to hold against the journal.

`python -m tests.support.recording_upstream FILE [PORT]` prints its port. One JSON line when a request's head is there,
one more when its body is complete. It knows HTTP just so far; it shares no code with the gateway.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
from pathlib import Path

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


class Notebook:
    """The file. One write() a line: a line is there or not."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **said: object) -> None:
        os.write(self._file, json.dumps(said).encode() + b"\n")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Switch to WebSocket and send each short frame back until the connection ends (by IncompleteReadError)."""
    accept = base64.b64encode(hashlib.sha1(f"{key}{GUID}".encode(), usedforsecurity=False).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
    writer.write(b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept)
    while True:
        first, size = await reader.readexactly(2)
        mask, data = await reader.readexactly(4), await reader.readexactly(size & 0x7F)
        writer.write(bytes((first, len(data))) + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))
        await writer.drain()


async def serve(path: Path, port: int = 0) -> None:
    """Serve until killed."""
    book = Notebook(path)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                name = fields["x-sekisho-request-id"]
                book.note(id=name, line=head[0])
                if fields.get("transfer-encoding") == "chunked":
                    while size := int(await reader.readuntil(b"\r\n"), 16):
                        await reader.readexactly(size + 2)
                    await reader.readexactly(2)
                else:
                    await reader.readexactly(int(fields.get("content-length", "0")))
                book.note(id=name, whole=True)
                if "upgrade" in fields:
                    await echo(reader, writer, fields["sec-websocket-key"])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()  # the gateway ended it, perhaps within a body

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), *map(int, sys.argv[2:])))
