"""The app's answer: read as strictly as a request, and rewritten into what the browser may get.

Rewritten are only the head's hop-by-hop and framing fields, `Location` that names the app's own address, and
`Set-Cookie` (Secure added; refused where it would touch our cookies or a parent domain). Bodies are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httptools

from gateway.edge.framing import BodyReader, Chunked, Counted, UntilClose
from gateway.gate.headers import OWN_COOKIE, public_origin
from gateway.gate.request import RequestHead

HEAD_LIMIT: Final = 65536
INTERIM_LIMIT: Final = 8

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}
_EVENTS: Final = b"text/event-stream"
_READ_BY_US: Final = frozenset(
    b"connection upgrade transfer-encoding content-length content-type www-authenticate sec-websocket-accept"
    b" sec-websocket-extensions".split()
)
_FRAMING: Final = frozenset({b"transfer-encoding", b"content-length"})
_ALSO_PASSED: Final = _READ_BY_US - _FRAMING - {b"connection", b"upgrade"}
# Alt-Svc would lead browsers to an address that is not ours.
_DROPPED: Final = frozenset(
    b"keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer alt-svc http2-settings".split()
)
_REWRITTEN: Final = frozenset({b"location", b"content-location", b"set-cookie"})
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")
# RFC 9112 §4, but that many apps leave out the last SP. llhttp takes an empty line before, and controls in the reason.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?")
_LONGEST_REMEMBERED: Final = 64  # bytes of a name: no app fills our memory with names
_remembered: dict[bytes, tuple[bytes, int]] = {}
_PASS, _READ, _READ_AND_PASS, _REWRITE, _DROP = range(5)


class AnswerFault(Exception):
    """The app's answer is not one that may be passed on (502)."""


Rewritten = Sequence[tuple[bytes, bytes, bytes]]
"""Fields as name in lower case, name, value."""

Field = tuple[int, bytes, bytes, bytes, bytes]
"""What happens to a field, its name in lower case, its name, its value, and the line that a browser gets."""


class ResponseHead:
    """One parsed answer head. Never changed: it may serve several answers.

    `passed` is the status line and the fields that pass as they are, as a browser gets them; `find` holds the fields we
    read ourselves, in lower case; `rewritten` those that need the request to be passed on. `plain` is the whole head as
    a browser gets it on a connection that goes on, b"" where that depends on more than the answer.
    """

    __slots__ = ("find", "keep_alive", "length", "passed", "plain", "rewritten", "status")

    def __init__(
        self, start: tuple[int, str], passed: bytes, find: dict[bytes, bytes], rewritten: Rewritten = ()
    ) -> None:
        """`start` is status and version; raises AnswerFault where the version forbids the framing."""
        self.status, version = start
        self.passed = passed
        self.find = find
        self.rewritten = rewritten
        length = find.get(b"content-length")
        # what it says, -1 = not one number
        self.length = int(length) if length is not None and length.isdigit() and len(length) < 16 else -1
        connection = find.get(b"connection")
        if connection is None or connection == b"keep-alive":
            self.keep_alive = version == "1.1" or connection is not None
        else:
            options = options_of(connection)
            self.keep_alive = b"close" not in options and (version == "1.1" or b"keep-alive" in options)
        if b"transfer-encoding" in find:
            self.length = -1
            if version != "1.1":
                raise AnswerFault("Transfer-Encoding on HTTP/1.0")
        self.plain = b""
        alone = not rewritten and b"www-authenticate" not in find
        if length is not None and self.length >= 0 and alone and 200 <= self.status != 204:
            self.plain = b"%bContent-Length: %b\r\n\r\n" % (passed, length)

    @classmethod
    def of(cls, start: tuple[int, str], fields: list[Field]) -> ResponseHead:
        """Sort the fields of a head; those that `Connection` names are this hop's own and pass no further."""
        find: dict[bytes, bytes] = {}
        passing: list[tuple[bytes, bytes]] = []
        rewritten: list[tuple[bytes, bytes, bytes]] = []
        for action, lower, name, value, line in fields:
            if action == _REWRITE:
                rewritten.append((lower, name, value))
            elif action not in (_DROP, _PASS):
                known = find.get(lower)
                find[lower] = value if known is None else known + b", " + value
            if action in (_PASS, _READ_AND_PASS):
                passing.append((lower, line))
        options = options_of(find.get(b"connection", b""))
        lines = [line for lower, line in passing if lower not in options]
        return cls(start, status_line(start[0]) + b"".join(lines), find, rewritten)

    @property
    def streams_events(self) -> bool:
        """Whether the body is a stream of events, which lasts as long as a page is open (HTML standard §9.2)."""
        return self.find.get(b"content-type", b"").lower().startswith(_EVENTS)

    @property
    def framed(self) -> bool:
        """Whether it says that it has a body, or, where it may have none, would have one."""
        return self.length > 0 or b"transfer-encoding" in self.find

    @property
    def authenticates_connection(self) -> bool:
        """Whether the app asks for NTLM or Negotiate, which authenticate a connection, not a request."""
        challenge = self.find.get(b"www-authenticate")
        return challenge is not None and names_connection_scheme(challenge)

    def body(self, method: str) -> BodyReader:
        """Return the reader of this answer's body (RFC 9112 §6.3); raises AnswerFault."""
        coding = self.find.get(b"transfer-encoding")
        length = self.find.get(b"content-length")
        if coding is not None and (length is not None or coding.lower() != b"chunked"):
            raise AnswerFault("Transfer-Encoding with Content-Length, or other than chunked")
        if self.status == 204 and self.framed:
            raise AnswerFault("204 that says it has a body")
        if length is not None and _DIGITS.fullmatch(length) is None:
            raise AnswerFault("Content-Length is not one number")
        if method == "HEAD" or self.status in (204, 304):
            return Counted(0)
        if coding is not None:
            return Chunked(strict=False)
        return UntilClose() if length is None else Counted(int(length))


def options_of(connection: bytes) -> set[bytes]:
    """Return what a Connection field lists, in lower case (RFC 9110 §7.6.1)."""
    return {option.strip(b" \t") for option in connection.lower().split(b",")}


def names_connection_scheme(value: bytes) -> bool:
    """Whether a challenge or credentials list names NTLM or Negotiate (RFC 4559)."""
    lower = value.lower()
    return b"ntlm" in lower or b"negotiate" in lower


class AnswerReader:
    """Reads answer heads of one upstream connection; a fresh llhttp for each, as it cannot be told about HEAD."""

    __slots__ = ("_fields", "size")

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self.size = 0  # bytes of the head read last

    def take(self, data: bytes) -> ResponseHead | None:
        """Read the head at the start of `data`, None while it is not complete; raises AnswerFault."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > HEAD_LIMIT or (data[:5] != b"HTTP/"[: len(data)]):
                raise AnswerFault("answer head too long, or not HTTP")
            # Lines that end otherwise never complete a head: it would wait for the time limit. The CR may be the last.
            if data.count(b"\n") != data.count(b"\r\n") or data.count(b"\r", 0, -1) != data.count(b"\r\n"):
                raise AnswerFault("bare CR or bare LF in the answer head")
            return None
        if end > HEAD_LIMIT:
            raise AnswerFault("answer head too long")
        self.size = end + 4
        whole = data[:end]
        known = _heads.get(whole)
        if known is not None:
            return known
        first, *lines = whole.split(b"\r\n")
        start = _starts.get(first)
        if start is not None:
            try:
                passed = b"".join(map(_passed_of, lines))
                told = list(filter(None, map(_told_of, lines)))
            except KeyError:
                return self._read(data[: end + 4], first, lines)
            find = dict(told)
            if len(find) == len(told):
                head = ResponseHead(start, status_line(start[0]) + passed, find)
                if len(_heads) >= _HEADS:
                    _heads.clear()
                if end <= _LONGEST_HEAD:
                    _heads[whole] = head
                return head
        return self._read(data[: end + 4], first, lines)

    def _read(self, data: bytes, first: bytes, lines: list[bytes]) -> ResponseHead:
        """Have llhttp read one complete head."""
        if _STATUS_LINE.fullmatch(first) is None:
            raise AnswerFault("status line does not follow RFC 9112, of another version, or status out of range")
        self._fields = []
        parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # a 101: llhttp stops here by design, whether it was asked for is checked by the exchange
        except httptools.HttpParserError as error:
            raise AnswerFault("answer head does not follow RFC 9112") from error
        version = parser.get_http_version()
        status = parser.get_status_code()
        fields = [read_field(name, value) for name, value in self._fields]
        if status >= 200:
            _remember(first, (status, version), lines, fields)
        head = ResponseHead.of((status, version), fields)
        # RFC 9110 §8.6, §15.2, RFC 9112 §6.1: what looks like its body would be read as the next answer.
        if status < 200 and (version != "1.1" or not head.find.keys().isdisjoint(_FRAMING)):
            raise AnswerFault("interim answer of HTTP/1.0, or one that says it has a body")
        return head

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field (called by httptools)."""
        self._fields.append((name, value))


# Lines that llhttp took as a field, by their exact bytes. A field line's grammar does not depend on the lines around it
# (RFC 9112 §5), and what fields mean together is read from all of them each time. Left out are rewritten fields, for
# they differ with each answer and Set-Cookie is a secret, and a Connection that names others of its head.
_LINES: Final = 4096
_LONGEST: Final = 256
# Heads all of whose lines are known, by their exact bytes: an app says the same to many requests of one second.
_HEADS: Final = 256
_LONGEST_HEAD: Final = 2048
_heads: dict[bytes, ResponseHead] = {}
_PLAIN_OPTIONS: Final = frozenset({b"keep-alive", b"close", b"upgrade"})
_starts: dict[bytes, tuple[int, str]] = {}
_passed: dict[bytes, bytes] = {}  # by line: what a browser gets of it
_told: dict[bytes, tuple[bytes, bytes] | None] = {}  # likewise: name and value, where we read them ourselves
_passed_of = _passed.__getitem__
_told_of = _told.__getitem__


def _remember(first: bytes, start: tuple[int, str], lines: list[bytes], fields: list[Field]) -> None:
    """Keep the lines of a head that llhttp took, where it read them as one field each."""
    if len(lines) != len(fields):
        return
    if len(_passed) + len(lines) > _LINES or len(_starts) >= _LINES:
        _starts.clear()
        _passed.clear()
        _told.clear()
    if len(first) <= _LONGEST:
        _starts[first] = start
    for line, (action, lower, name, value, shown) in zip(lines, fields, strict=True):
        written, _, content = line.partition(b":")
        if action == _REWRITE or len(line) > _LONGEST or written != name or content.strip(b" \t") != value:
            continue
        if lower == b"connection" and value.lower() not in _PLAIN_OPTIONS:
            continue
        _passed[line] = shown if action in (_PASS, _READ_AND_PASS) else b""
        _told[line] = (lower, value) if action in (_READ, _READ_AND_PASS) else None


def read_field(name: bytes, value: bytes) -> Field:
    """Return one field of an answer with what happens to it."""
    lower, action = _remembered.get(name) or _classify(name)
    value = value.strip(b" \t")
    return action, lower, name, value, b"%b: %b\r\n" % (name, value)


def status_line(status: int) -> bytes:
    """Return the status line that browsers get; the app's own phrase is not passed on."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def _classify(name: bytes) -> tuple[bytes, int]:
    lower = name.lower()
    if lower in _READ_BY_US:
        action = _READ_AND_PASS if lower in _ALSO_PASSED else _READ
    elif lower in _DROPPED or lower.startswith(b"x-sekisho-"):
        action = _DROP
    else:
        action = _REWRITE if lower in _REWRITTEN else _PASS
    if len(name) <= _LONGEST_REMEMBERED and len(_remembered) < 4096:
        _remembered[name] = (lower, action)
    return lower, action


def rewritten(head: ResponseHead, request: RequestHead, origins: frozenset[bytes], own: bool = False) -> list[bytes]:
    """Return the lines of the fields that must be rewritten for the browser.

    `own` answers come from our control process: they alone may set our cookies, and their addresses are public ones.
    """
    lines = []
    for lower, name, value in head.rewritten:
        if own:
            public = value
        elif lower == b"set-cookie":
            public = public_cookie(value, request.host)
            if not public:
                continue
        else:
            public = public_location(value, request, origins)
        lines.append(b"%b: %b\r\n" % (name, public))
    return lines


def public_location(value: bytes, request: RequestHead, origins: frozenset[bytes]) -> bytes:
    """Map a URL that names one of the app's own `origins`, or this host by another scheme, to the public one."""
    if value[:4].lower() != b"http":
        return value
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        return value
    if host is None or b"@" in parts.netloc:
        return value
    standard = {b"http": 80, b"https": 443}.get(parts.scheme.lower())
    origin = b"%b://%b" % (parts.scheme.lower(), host.lower())
    if port is not None and port != standard:
        origin += b":%d" % port
    same_host = host.lower() == request.host.encode("ascii") and port in (None, standard, request.port)
    if origin not in origins and not same_host:
        return value
    rest = value[len(parts.scheme) + 3 + len(parts.netloc) :]
    return public_origin(request) + (rest if rest.startswith(b"/") else b"/" + rest)


def public_cookie(value: bytes, host: str) -> bytes:
    """Return a Set-Cookie value with Secure added; b"" where it is refused.

    Refused: our own names in any spelling, and a Domain other than the host itself, which would reach sibling apps.
    """
    parts = value.split(b";")
    # Of a cookie without a name only the value is sent back, so the value may not look like one of ours either.
    shown = parts[0].lstrip(b" \t=").lower()
    if not shown or shown.startswith(OWN_COOKIE):
        return b""
    secure = False
    for part in parts[1:]:
        key, _, content = part.partition(b"=")
        key = key.strip(b" \t").lower()
        if key == b"secure":
            secure = True
        elif key == b"domain" and content.strip(b" \t").lstrip(b".").lower() not in (b"", host.encode("ascii")):
            return b""
    return value if secure else value + b"; Secure"
