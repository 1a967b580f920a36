"""WebSockets as browsers open them at a front: over a connection of HTTP/1.1, or over a stream of HTTP/2 (RFC 8441).

No client library that the tests have opens the latter, and it takes few frames: settings, one extended CONNECT, data.
Head fields are sent as HPACK literals (RFC 7541 §6.2.2); of the answer's only the status is read, which comes first.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from gateway.edge.tunnel import accept_for
from tests.support.websocket_bytes import KEY

PATIENCE = 30.0  # seconds for whatever is to come
TEXT, BINARY, CLOSE = 1, 2, 8
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_INITIAL_WINDOW, _ENABLE_CONNECT = 4, 8
_WINDOW = 1 << 20
_STREAM = 1
_MOST = 16384  # bytes of a frame (RFC 9113 §4.2)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Refused(Exception):
    """The handshake was answered otherwise; the text is the answer's status, or its HPACK bytes."""


@dataclass
class Front:
    """Where a front listens at 127.0.0.1, the name that leads there, the authority that vouches for it."""

    port: int
    name: str
    ca: str

    @property
    def authority(self) -> str:
        return f"{self.name}:{self.port}"

    async def connect(self, protocol: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect and agree on an application protocol (ALPN)."""
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols([protocol])
        streams = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=self.name)
        assert streams[1].get_extra_info("ssl_object").selected_alpn_protocol() == protocol
        return streams

    def fields(self, token: str, origin: str) -> dict[str, str]:
        return {
            "cookie": f"__Host-sekisho-app={token}", "origin": origin or f"https://{self.authority}",
            "sec-websocket-version": "13",
        }  # fmt: skip


class Socket(ABC):
    """An open WebSocket. Nothing is answered by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    @abstractmethod
    async def open(cls, front: Front, token: str, path: str, origin: str = "") -> Self:
        """Connect as the person of this token, from a page of `origin` ("" = the app's own); raises Refused."""

    @abstractmethod
    async def _exactly(self, size: int) -> bytes: ...

    @abstractmethod
    def _put(self, frame: bytes) -> None: ...

    async def say(self, opcode: int, payload: bytes) -> None:
        """Send one frame, masked with zeros (RFC 6455 §5.3)."""
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack(">BH", 0x80 | 126, len(payload))
        self._put(bytes([0x80 | opcode]) + size + bytes(4) + payload)
        await self._writer.drain()

    async def hear(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame; raises EOFError where the connection, or the stream, ended."""
        async with asyncio.timeout(PATIENCE):
            first, size = await self._exactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", await self._exactly(2))
            return first & 0x0F, await self._exactly(size)

    def leave(self) -> None:
        """Be gone."""
        self._writer.transport.abort()


class Http1Socket(Socket):
    """Over a connection of its own."""

    @classmethod
    async def open(cls, front: Front, token: str, path: str, origin: str = "") -> Self:
        reader, writer = await front.connect("http/1.1")
        fields = {"host": front.authority, "connection": "Upgrade", "upgrade": "websocket"}
        fields |= front.fields(token, origin) | {"sec-websocket-key": KEY.decode()}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        status = head.split(b" ", 2)[1].decode()
        if status != "101":
            writer.transport.abort()
            raise Refused(status)
        assert accept_for(KEY) in head
        return cls(reader, writer)

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self._reader.readexactly(size)
        except ConnectionError as error:
            raise EOFError from error

    def _put(self, frame: bytes) -> None:
        self._writer.write(frame)


class Http2Socket(Socket):
    """On the only stream of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.may_connect = False  # the front takes extended CONNECT (RFC 8441 §3)
        self._head = b""  # of the answer, as HPACK
        self._ended = False
        self._data = bytearray()

    @classmethod
    async def connected(cls, front: Front) -> Self:
        """Connect and exchange settings."""
        made = cls(*await front.connect("h2"))
        made._writer.write(_PREFACE)
        made._send(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, _WINDOW))
        made._send(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW))
        async with asyncio.timeout(PATIENCE):
            while await made._next() != _SETTINGS:
                pass
        return made

    @classmethod
    async def open(cls, front: Front, token: str, path: str, origin: str = "") -> Self:
        made = await cls.connected(front)
        assert made.may_connect
        fields = {
            ":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":path": path,
            ":authority": front.authority, **front.fields(token, origin),
        }  # fmt: skip
        head = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())
        made._send(_HEADERS, _END_HEADERS, _STREAM, head)
        async with asyncio.timeout(PATIENCE):
            while not made._head:
                await made._next()
        if made._head[0] != 0x88:  # ":status: 200" (RFC 7541, Appendix A)
            made.leave()
            raise Refused(made._head.hex())
        return made

    async def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            if self._ended:
                raise EOFError
            await self._next()
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def _put(self, frame: bytes) -> None:
        for start in range(0, len(frame), _MOST):
            self._send(_DATA, 0, _STREAM, frame[start : start + _MOST])

    def _send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._writer.write(len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload)

    async def _next(self) -> int:
        """Take one frame and do what it asks for; return its type."""
        head = await self._reader.readexactly(9)
        size = int.from_bytes(head[:3])
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = await self._reader.readexactly(size)
        if kind == _SETTINGS and not flags & _ACK:
            self.may_connect = (_ENABLE_CONNECT, 1) in struct.iter_unpack(">HI", payload)
            self._send(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self._send(_PING, _ACK, 0, payload)
        elif stream == _STREAM:
            self._of_the_stream(kind, flags, payload)
        return int(kind)

    def _of_the_stream(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _DATA:
            self._data += payload
        elif kind == _HEADERS:
            self._head = self._head or payload
        self._ended |= kind == _RST_STREAM or (kind in (_DATA, _HEADERS) and bool(flags & _END_STREAM))


def _text(text: str) -> bytes:
    """Return a string as HPACK has it, without Huffman's code (RFC 7541 §5.1, §5.2)."""
    data = text.encode()
    size, rest = len(data), b""
    if size >= 127:
        size -= 127
        while size >= 128:
            rest += bytes([size % 128 + 128])
            size //= 128
        rest, size = rest + bytes([size]), 127
    return bytes([size]) + rest + data
