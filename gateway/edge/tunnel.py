"""WebSocket tunnels: bytes pass as they are, only frame headers are followed (RFC 6455 §5.2).

Following them gives the counts of the record, a limit on frame size, and the knowledge whether a close frame may be
sent at this byte. Payloads, compression and control frames are the business of browser and app.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Final

from policies.reasons import Reason

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
POLICY_VIOLATION: Final = 1008
RESTARTING: Final = "gateway_restarting"
_CODES: Final[dict[str, int]] = {  # RFC 6455 §7.4.1; whatever took a right away is a policy violation
    RESTARTING: 1001, Reason.TIMED_OUT: 1001, Reason.MALFORMED_REQUEST: 1002, Reason.APP_ANSWER_INVALID: 1011,
}  # fmt: skip


class TunnelFault(Exception):
    """A frame that breaks RFC 6455 or our limit."""


def accept_for(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept value that answers `key` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def close_frame(code: int) -> bytes:
    """Return an unmasked close frame (a server's)."""
    return b"\x88\x02" + struct.pack("!H", code)


class FrameTracker:
    """Follows the frames of one direction."""

    __slots__ = ("_head", "_left", "_limit", "_masked", "frames")

    def __init__(self, limit: int, *, masked: bool) -> None:
        self.frames = 0
        self._limit = limit
        self._masked = masked
        self._head = b""
        self._left = 0

    @property
    def at_boundary(self) -> bool:
        """Whether the last byte seen ended a frame."""
        return self._left == 0 and not self._head

    def feed(self, data: bytes) -> None:
        """Follow `data`; raises TunnelFault before any byte of it may be passed on."""
        size = len(data)
        if self._left >= size:
            self._left -= size
            return
        position = self._left
        self._left = 0
        while position < size:
            known = len(self._head)
            head = self._head + data[position : position + 14 - known]
            length = self._length(head)
            if length is None:
                self._head = head
                return
            header_size, payload = length
            self._head = b""
            if payload > self._limit:
                raise TunnelFault("frame longer than the limit")
            self.frames += 1
            position += header_size - known
            available = size - position
            if payload > available:
                self._left = payload - available
                return
            position += payload

    def _length(self, head: bytes) -> tuple[int, int] | None:
        """Return (size of the frame header, size of its payload), None while the header is not complete."""
        if len(head) < 2:
            return None
        second = head[1]
        if bool(second & 0x80) is not self._masked:
            raise TunnelFault("masking is for the client's frames, and for all of them")
        size, payload = 2, second & 0x7F
        if payload >= 126:
            size = 4 if payload == 126 else 10
            if len(head) < size:
                return None
            payload = int.from_bytes(head[2:size], "big")
        if self._masked:
            size += 4
        return None if len(head) < size else (size, payload)


class Tunnel:
    """Both directions of one WebSocket."""

    __slots__ = ("inward", "outward")

    def __init__(self, frame_limit: int) -> None:
        self.inward = FrameTracker(frame_limit, masked=True)
        self.outward = FrameTracker(frame_limit, masked=False)

    def farewell(self, reason: str) -> bytes:
        """Return the close frame that tells the client why; b"" in the middle of a frame of the app."""
        if not self.outward.at_boundary:
            return b""
        return close_frame(_CODES.get(reason, POLICY_VIOLATION))
