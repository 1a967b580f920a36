"""A proxy before a real server that does to bulk requests what networks and other proxies do.

It passes everything on byte by byte, but the answer to a bulk request only as its script says: each word is used once.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Final, Self

_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_PAGE: Final = b"<html><body>Bad gateway</body></html>"
INSTEAD: Final = {
    "html": (b"200 OK", b"text/html", b""),
    "not json": (b"200 OK", b"application/json", b""),
    "redirect": (b"307 Temporary Redirect", b"text/html", b"Location: http://127.0.0.1:9/elsewhere\r\n"),
    "bad gateway": (b"502 Bad Gateway", b"text/html", b""),
    "not found": (b"404 Not Found", b"text/html", b""),
    "bad request": (b"400 Bad Request", b"text/html", b""),
    "throttled": (b"429 Too Many Requests", b"text/html", b"Retry-After: 0\r\n"),
}
"""What is answered instead; the server never sees the request."""


class HostileProxy:
    """Use as an async context manager; `url` is its address.

    Besides the words of `INSTEAD`: `cut` (the server carries the request out, half of its answer arrives), `lost` (it
    carries it out, no byte of the answer arrives), `unsent` (the connection ends before the server has the request).
    """

    def __init__(self, port: int, *script: str) -> None:
        self._port, self.script = port, list(script)
        self.used: list[str] = []
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await _message(reader)
        word = self.script.pop(0) if self.script and b"/_bulk" in request.partition(b"\r\n")[0] else ""
        if word:
            self.used.append(word)
        if word == "unsent":
            return False
        if word in INSTEAD:
            status, kind, more = INSTEAD[word]
            head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n" % (status, kind, more, len(_PAGE))
            writer.write(head + _PAGE)
            await writer.drain()
            return True
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 26)
        downstream.write(request)
        answer = await _message(upstream)
        downstream.close()
        if word == "lost":
            return False
        writer.write(answer[: len(answer) // 2] if word == "cut" else answer)
        await writer.drain()
        return word != "cut"


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    found = _LENGTH.search(head)
    if found is not None:
        return head + await reader.readexactly(int(found[1]))
    if b"transfer-encoding: chunked" not in head.lower():
        return head
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        body += await reader.readuntil(b"\r\n")
    return head + body
