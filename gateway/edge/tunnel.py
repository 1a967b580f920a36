"""WebSocket tunnels: bytes pass as they are, only frame headers are followed (RFC 6455 §5.2).

Following them gives the counts of the record, a limit on frame size, and the knowledge whether a close frame may be
sent at this byte. A header that means nothing, or something that was not agreed on, ends the tunnel before a byte of it
passes. Payloads and compression are the business of browser and app.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gateway.edge.response import ResponseHead, options_of
from gateway.gate.reference import shown
from gateway.gate.request import RequestHead
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.edge.services import Outcome

LEAVING: Final = 5.0  # seconds in which the other end may finish after one end did
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTROL: Final = 8  # the first opcode of a control frame
_CLOSE: Final = 8
_OPCODES: Final = frozenset({0, 1, 2, 8, 9, 10})  # RFC 6455 §11.8; no extension has registered another
_CONTROL_BYTES: Final = 125
_REASON_BYTES: Final = 123  # a control frame carries 125 bytes at most (RFC 6455 §5.5), two of them are the code
POLICY_VIOLATION: Final = 1008
RESTARTING: Final = "gateway_restarting"
_CODES: Final[dict[str, int]] = {  # RFC 6455 §7.4.1, §11.7; whatever took a right away is a policy violation
    RESTARTING: 1012, Reason.TIMED_OUT: 1001, Reason.MALFORMED_REQUEST: 1002, Reason.TOO_LARGE: 1009,
    Reason.APP_ANSWER_INVALID: 1011,
}  # fmt: skip


class TunnelFault(Exception):
    """A frame that breaks RFC 6455 or our limit; the reason says whose: of the app it is `APP_ANSWER_INVALID`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def accept_for(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept value that answers `key` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def switches(request: RequestHead, head: ResponseHead) -> bool:
    """Whether a 101 answers our WebSocket upgrade, with no extension that was not offered (RFC 6455 §4.1, 2 to 5)."""
    find = head.find
    if not request.upgrade or find.get(b"upgrade", b"").lower() != b"websocket":
        return False
    if not _extensions(find) <= _extensions(request.find):
        return False
    accept = accept_for(request.find[b"sec-websocket-key"])
    return b"upgrade" in options_of(find.get(b"connection", b"")) and find.get(b"sec-websocket-accept") == accept


def _extensions(find: Mapping[bytes, bytes]) -> set[bytes]:
    """Return the names of the extensions that one side lists (RFC 6455 §9.1)."""
    listed = find.get(b"sec-websocket-extensions", b"").split(b",")
    return {each.partition(b";")[0].strip(b" \t") for each in listed} - {b""}


def close_frame(code: int, reason: str) -> bytes:
    """Return an unmasked close frame (a server's); a reason that is too long for it loses whole characters."""
    told = reason.encode()[:_REASON_BYTES].decode(errors="ignore").encode()
    return struct.pack("!BBH", 0x88, 2 + len(told), code) + told


class FrameTracker:
    """Follows the frames of one direction."""

    __slots__ = ("_extended", "_head", "_left", "_limit", "_masked", "_unfinished", "closing", "frames")

    def __init__(self, limit: int, *, masked: bool, extended: bool) -> None:
        """`limit` is in bytes of a payload; `extended`: an extension was agreed on, and may use the reserved bits."""
        self.frames = 0
        self.closing = False  # a close frame began: no other frame may follow (RFC 6455 §5.5.1)
        self._limit = limit
        self._masked = masked
        self._extended = extended
        self._unfinished = False  # a message began whose last fragment has not come
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
                raise self._fault(Reason.TOO_LARGE, "frame longer than the limit")
            self._begin(head[0], payload)
            position += header_size - known
            available = size - position
            if payload > available:
                self._left = payload - available
                return
            position += payload

    def _begin(self, first: int, payload: int) -> None:
        """Count a frame by its first byte; raises TunnelFault for one that has no meaning here (RFC 6455 §5.2–5.5)."""
        opcode, last = first & 0x0F, first >= 0x80
        if first & 0x70 and not self._extended:
            raise self._fault(Reason.MALFORMED_REQUEST, "reserved bits without an extension")
        if opcode not in _OPCODES:
            raise self._fault(Reason.MALFORMED_REQUEST, "reserved opcode")
        if opcode >= _CONTROL:
            if payload > _CONTROL_BYTES or not last:
                raise self._fault(Reason.MALFORMED_REQUEST, "control frame that is long or in fragments")
            self.closing = self.closing or opcode == _CLOSE
        elif (opcode == 0) is not self._unfinished:
            raise self._fault(
                Reason.MALFORMED_REQUEST, "fragment that continues nothing, or a message within a message"
            )
        else:
            self._unfinished = not last
        self.frames += 1

    def _length(self, head: bytes) -> tuple[int, int] | None:
        """Return (size of the frame header, size of its payload), None while the header is not complete."""
        if len(head) < 2:
            return None
        second = head[1]
        if bool(second & 0x80) is not self._masked:
            raise self._fault(Reason.MALFORMED_REQUEST, "masking is for the client's frames, and for all of them")
        size, payload = 2, second & 0x7F
        if payload >= 126:
            size = 4 if payload == 126 else 10
            if len(head) < size:
                return None
            payload = int.from_bytes(head[2:size], "big")
        if self._masked:
            size += 4
        return None if len(head) < size else (size, payload)

    def _fault(self, reason: Reason, detail: str) -> TunnelFault:
        if self._masked:
            return TunnelFault(reason, f"{detail}; sent by the client")
        return TunnelFault(Reason.APP_ANSWER_INVALID, f"{detail}; sent by the app")


class Tunnel:
    """Both directions of one WebSocket."""

    __slots__ = ("inward", "outward")

    def __init__(self, frame_limit: int, head: ResponseHead) -> None:
        """`frame_limit` is in bytes; `head` is the app's 101."""
        extended = bool(_extensions(head.find))
        self.inward = FrameTracker(frame_limit, masked=True, extended=extended)
        self.outward = FrameTracker(frame_limit, masked=False, extended=extended)

    @property
    def ending(self) -> tuple[str, str]:
        """How the app's end came: reason and detail of the record, both "" where it came between two frames."""
        if self.outward.at_boundary:
            return "", ""
        return Reason.APP_ANSWER_INVALID, "connection ended within a frame"

    def counted(self, outcome: Outcome) -> Outcome:
        """Write into `outcome` what has passed; return it."""
        outcome.tunnel = True
        outcome.frames_in, outcome.frames_out = self.inward.frames, self.outward.frames
        return outcome

    def farewell(self, reason: str, request_id: str) -> bytes:
        """Return the close frame that tells the client why, and under which 受付番号 to ask.

        b"" in the middle of a frame of the app, and behind the app's own close frame.
        """
        outward = self.outward
        if outward.closing or not outward.at_boundary:
            return b""
        return close_frame(_CODES.get(reason, POLICY_VIOLATION), f"{reason} 受付番号 {shown(request_id)}")
