"""Bytes → `RequestHead`: limits of our own first, then llhttp's grammar, then the gate's rules.

httptools has no limits and no pause, so it is fed exactly one head at a time: the end of the head is found here,
and what follows stays in the connection's buffer until the request before it is answered.
"""

from __future__ import annotations

from collections.abc import Callable

import httptools

from gateway.edge.blocks import Asked, KnownBlocks
from gateway.edge.services import EdgeLimits
from gateway.gate.headers import METHODS, REFUSED_METHODS, app_lines, check
from gateway.gate.old_paths import read_path
from gateway.gate.request import PathExceptions, Peer, RequestFault, RequestHead
from gateway.gate.target import canonical
from policies.reasons import Reason

_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_METHODS = {method: method.decode("ascii") for method in METHODS}


class HeadReader:
    """Reads the request heads of one connection, in order."""

    __slots__ = (
        "_before", "_block", "_exceptions", "_fields", "_known", "_limits", "_longest", "_parser", "_turn", "size",
    )  # fmt: skip

    def __init__(
        self, limits: EdgeLimits, known: KnownBlocks, exceptions: Callable[[str], PathExceptions | None]
    ) -> None:
        """`exceptions` tells by which named exceptions paths on a host are read, None = by none."""
        self._limits = limits
        self._longest = limits.header_bytes
        self._exceptions = exceptions
        self._known = known
        self._fields: list[tuple[bytes, bytes]] = []
        self._parser: httptools.HttpRequestParser | None = None
        self._block = b""  # of the request before, where it was bare, and the head that it made
        self._before: RequestHead | None = None
        self._turn = known.turn
        self.size = 0  # bytes of the head read last

    def rest(self) -> None:
        """Keep nothing of the request before: the next one is not to be expected soon."""
        self._block, self._before = b"", None

    def next(self, data: bytes, peer: Peer) -> RequestHead | None:
        """Read `data` where it is one head with the block of the head before; None where `take` has to read it.

        `peer` is the same as of that one.
        """
        known, before, block = self._known, self._before, self._block
        if before is None or not data.endswith(block) or len(data) > self._longest:
            return None
        if self._turn != known.turn:
            self.rest()
            return None
        line = data[: -len(block)]  # one that is in order holds no line end, so this is the whole of it
        asked = known.lines.get(line) or self._ask(line)
        return None if asked is None else _again(before, asked, peer)

    def take(self, data: bytes, peer: Peer) -> RequestHead | None:
        """Read the head at the start of `data`, None while it is not complete; raises RequestFault."""
        known, limits = self._known, self._limits
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._check_partial(data)
            return None
        size = self.size = end + 4
        if size > limits.header_bytes:
            raise RequestFault(431, Reason.TOO_LARGE, "request head longer than the limit", "header_bytes")
        line_end = data.find(b"\r\n")
        block = data[line_end:size]
        line = data[:line_end]
        asked = known.lines.get(line) or self._ask(line)
        if asked is not None:
            bare = known.table.get(block) or self._compose(block)
            if bare is not None and (not peer.server_name or peer.server_name == bare.host):
                self._block, self._before, self._turn = block, bare, known.turn
                return _again(bare, asked, peer)
        self.rest()  # what follows may take long: the cookies of the request before are not kept meanwhile
        head = self.read(data[:size], peer)
        if head.exceptions is None:  # what a line asks for is the same on all other hosts
            known.remember(block, head)
            known.fields.learn(block, self._fields)
        return head

    def _ask(self, line: bytes) -> Asked | None:
        """Hold a request line to the rules of `read`; None where it is odd, as the head may have an earlier fault."""
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1" or len(parts[1]) > self._limits.target_bytes:
            return None
        if len(line) > self._limits.header_line_bytes:
            return None
        method = _METHODS.get(parts[0])
        if method is None:
            return None
        try:
            path, text, query = canonical(parts[1])
        except RequestFault:
            return None
        asked = (method, path, text, query, line_of(parts[0], path if query is None else b"%b?%b" % (path, query)))
        self._known.remember_line(line, asked)
        return asked

    def _compose(self, block: bytes) -> RequestHead | None:
        """Put a block together from lines that are known; None where the whole head must be read."""
        limits, known = self._limits, self._known
        if block.count(b"\r\n") - 2 > limits.header_count:
            return None
        try:
            head = known.fields.head_of(block, self._parse, limits.header_line_bytes)
        except RequestFault:
            return None
        if head is None or self._exceptions(head.host) is not None:
            return None
        known.remember_bare(block, head)
        return head

    def _check_partial(self, data: bytes) -> None:
        """Refuse early what cannot become a valid head, so that it does not wait for the header time limit."""
        if len(data) > self._limits.header_bytes:
            raise RequestFault(431, Reason.TOO_LARGE, "request head longer than the limit", "header_bytes")
        line = data.find(b"\n")
        if line < 0 and len(data) > self._limits.target_bytes + 64:
            raise RequestFault(414, Reason.TOO_LARGE, "request line longer than the limit", "target_bytes")
        if data and not (65 <= data[0] <= 90 or data[0] == 13):
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "request does not start with a method")
        # A CR may be the last byte of what arrived; its LF is then still to come.
        ends = data.count(b"\r\n")
        if data.count(b"\n") != ends or data.count(b"\r") - data.endswith(b"\r") != ends or b"\0" in data:
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "bare CR, bare LF or NUL in the request head")

    def read(self, data: bytes, peer: Peer) -> RequestHead:
        """Parse one complete head; raises RequestFault."""
        limits = self._limits
        end = data.find(b"\r\n")
        parts = data[:end].split(b" ")
        if len(parts) != 3:
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "request line is not method, target and version")
        method, target, literal = parts
        version = _VERSIONS.get(literal)
        if version is None:
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "version other than HTTP/1.1 and HTTP/1.0")
        if method not in METHODS:
            self._refuse_method(method)
        if len(target) > limits.target_bytes:
            raise RequestFault(414, Reason.TOO_LARGE, "target longer than the limit", "target_bytes")
        if len(data) > limits.header_line_bytes and max(map(len, data.split(b"\r\n"))) > limits.header_line_bytes:
            raise RequestFault(431, Reason.TOO_LARGE, "header line longer than the limit", "header_line_bytes")
        fields = self._parse(data)
        if len(fields) > limits.header_count:
            raise RequestFault(431, Reason.TOO_LARGE, "more header fields than the limit", "header_count")
        head = RequestHead()
        head.method = method.decode("ascii")
        head.version = version
        head.peer = peer
        check(head, fields)
        exceptions = self._exceptions(head.host)
        if exceptions is None:
            head.path, head.path_text, head.query = canonical(target)
        else:
            head = read_path(head, target, exceptions)
        head.line = line_of(method, head.sent)
        head.lines = app_lines(head)
        ranges = head.find.get(b"range")
        if ranges is not None and ranges.count(b",") >= limits.ranges:
            raise RequestFault(400, Reason.TOO_LARGE, "more ranges than the limit", "ranges")
        if head.content_length is not None and head.content_length > limits.body_bytes:
            raise RequestFault(413, Reason.TOO_LARGE, "body longer than the limit", "body_bytes")
        if head.content_length or head.chunked:
            self._parser = None
        return head

    def _refuse_method(self, method: bytes) -> None:
        if method in REFUSED_METHODS:
            raise RequestFault(405, Reason.METHOD_NOT_ALLOWED, "TRACE or CONNECT")
        if method.isalpha() and method.isupper():
            raise RequestFault(501, Reason.METHOD_NOT_ALLOWED, "method not known")
        raise RequestFault(400, Reason.MALFORMED_REQUEST, "method is not a word in capitals")

    def _parse(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Let llhttp read the head; return its fields in order."""
        parser = before = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        fields: list[tuple[bytes, bytes]] = []
        self._fields = fields
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._parser = None  # llhttp stops at an upgrade; what follows is ours to frame
        except httptools.HttpParserError as error:
            self._parser = None
            if before is not None:  # a field before this head, such as Proxy-Connection: close, may have ended it
                return self._parse(data)
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "head does not follow RFC 9112") from error
        return fields

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field (called by httptools)."""
        self._fields.append((name, value))


def line_of(method: bytes, target: bytes) -> bytes:
    """Return the request line by which an app is asked (RFC 9112 §3): always in HTTP/1.1."""
    return b"%b %b HTTP/1.1" % (method, target)


def _again(known: RequestHead, asked: Asked, peer: Peer) -> RequestHead:
    """Return the head of another request with a known header block."""
    head = RequestHead()
    head.method, head.path, head.path_text, head.query, head.line = asked
    head.version = "1.1"
    head.peer = peer
    head.host = known.host
    head.port = known.port
    head.headers = known.headers
    head.lines = known.lines
    head.find = known.find
    head.content_length = None
    head.chunked = False
    head.upgrade = False
    head.expect_continue = False
    head.keep_alive = known.keep_alive
    return head
