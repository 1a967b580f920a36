"""Headers of WebSocket frames (RFC 6455 §5.2–5.5): what has no meaning ends the tunnel, as a library reads it too."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
import uvloop
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
from aiohttp.base_protocol import BaseProtocol
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.tunnel import FrameTracker, TunnelFault
from policies.reasons import Reason
from tests.support.edge import read_head, running
from tests.support.websocket_bytes import SWITCHED, upgrade

LIMIT = 70_000
TEXT, CONTINUED, PING, CLOSE = 0x1, 0x0, 0x9, 0x8
LAST = 0x80


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """One frame; a client's is masked with zeros, which leave the payload as it is."""
    mask = 0x80 if masked else 0
    size = len(payload)
    length = bytes([mask | size]) if size < 126 else struct.pack("!BH", mask | 126, size)
    if size > 0xFFFF:
        length = struct.pack("!BQ", mask | 127, size)
    return bytes([first]) + length + (bytes(4) if masked else b"") + payload


def stream(frames: list[tuple[int, bytes]], *, masked: bool = True) -> bytes:
    """Frames one behind the other, each by its first byte and its payload."""
    return b"".join(frame(first, payload, masked=masked) for first, payload in frames)


FINE = {
    "text": [(LAST | TEXT, b"a")],
    "fragments": [(TEXT, b"a"), (CONTINUED, b"b"), (LAST | CONTINUED, b"c")],
    "a ping between fragments": [(TEXT, b"a"), (LAST | PING, b"p" * 125), (LAST | CONTINUED, b"")],
    "close": [(LAST | CLOSE, struct.pack("!H", 1000))],
}
WRONG = {
    "RSV1": [(LAST | 0x40 | TEXT, b"a")],
    "RSV2": [(LAST | 0x20 | TEXT, b"a")],
    "RSV3": [(LAST | 0x10 | TEXT, b"a")],
    "opcode 3": [(LAST | 3, b"")],
    "opcode 7": [(LAST | 7, b"")],
    "opcode 11": [(LAST | 11, b"")],
    "opcode 15": [(LAST | 15, b"")],
    "a long ping": [(LAST | PING, b"p" * 126)],
    "a ping in fragments": [(PING, b"p")],
    "a fragment of nothing": [(LAST | CONTINUED, b"c")],
    "a message within a message": [(TEXT, b"a"), (LAST | TEXT, b"b")],
}


@pytest.mark.parametrize("name", FINE)
def test_what_has_a_meaning_passes(name: str) -> None:
    sent = stream(FINE[name])
    for step in (1, 1000):
        tracker = FrameTracker(LIMIT, masked=True, extended=False)
        for place in range(0, len(sent), step):
            tracker.feed(sent[place : place + step])
        assert tracker.at_boundary


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("masked", [True, False])
def test_v51_what_has_none_is_a_fault_of_whoever_sent_it(name: str, *, masked: bool) -> None:
    with pytest.raises(TunnelFault) as found:
        FrameTracker(LIMIT, masked=masked, extended=False).feed(stream(WRONG[name], masked=masked))
    assert found.value.reason == (Reason.MALFORMED_REQUEST if masked else Reason.APP_ANSWER_INVALID)


def test_reserved_bits_pass_where_an_extension_was_agreed_on() -> None:
    tracker = FrameTracker(LIMIT, masked=True, extended=True)
    tracker.feed(stream(WRONG["RSV1"]))
    assert tracker.frames == 1


first_bytes = st.builds(
    lambda last, reserved, opcode: last | reserved | opcode,
    st.sampled_from([0, LAST]), st.sampled_from([0, 0, 0, 0x40, 0x20, 0x10]), st.integers(0, 15),
)  # fmt: skip
drawn_frames = st.builds(frame, first_bytes, st.sampled_from([b"", b"a", b"b" * 125, b"c" * 126, b"d" * 300]))


class _NoTransport(BaseProtocol):
    """The library's queue wants a protocol to hold back; nothing comes from it here."""


async def _library_takes(frames: list[bytes]) -> int:
    """How many of the frames, one after the other, a library reads before it says no."""
    loop = asyncio.get_running_loop()
    reader = WebSocketReader(WebSocketDataQueue(_NoTransport(loop), 2**16, loop=loop), 2**20, False, True)
    for number, each in enumerate(frames):
        failed, _ = reader.feed_data(each)
        if failed:
            return number
    return len(frames)


def _tracker_takes(frames: list[bytes]) -> int:
    tracker = FrameTracker(LIMIT, masked=True, extended=False)
    for number, each in enumerate(frames):
        try:
            tracker.feed(each)
        except TunnelFault:
            return number
    return len(frames)


@given(st.lists(drawn_frames, max_size=6))
def test_frames_are_judged_as_a_library_judges_them(frames: list[bytes]) -> None:
    """Text that is no UTF-8 and odd close codes are payloads: such are not drawn, but for the empty close.

    Nor is a first fragment without payload: the library forgets that it began a message.
    """
    frames = [each for each in frames if each[0] & 0x0F != CLOSE or each[1] & 0x7F == 0 or each[1] & 0x7F >= 126]
    frames = [each for each in frames if each[0] & LAST or each[1] & 0x7F]
    assert _tracker_takes(frames) == asyncio.run(_library_takes(frames))


@pytest.mark.parametrize("offered", [b"", b"permessage-deflate; client_max_window_bits"])
def test_an_extension_that_was_not_offered_is_no_agreement(offered: bytes) -> None:
    """The app says permessage-deflate; the client gets it only where it asked for it."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCHED + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        await reader.read()
        writer.close()

    async def main() -> bytes:
        async with running(app) as edge:
            reader, writer = await edge.connect()
            asked = b"Sec-WebSocket-Extensions: %b\r\n\r\n" % offered if offered else b"\r\n"
            writer.write(upgrade(b"/ws")[:-2] + asked)
            head: Any = await asyncio.wait_for(read_head(reader), 30)
            writer.close()
            return bytes(head)

    head = uvloop.run(main())
    if offered:
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-extensions: permessage-deflate\r\n" in head.lower()
    else:
        assert head.startswith(b"HTTP/1.1 502 ")
