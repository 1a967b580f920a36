"""Header field lines that were read before: two requests of one browser differ in a line or two.

The grammar of a field line does not depend on the lines around it (RFC 9112 §5), so a line that llhttp took alone, and
the gate's rules after it, is not read again; what the fields of one block mean together is read from all of them each
time. Never kept are fields that frame a body or ask for anything but the next request on this connection, those whose
number is bounded, and what nobody would send twice. Like blocks, lines hold cookies: they are forgotten with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from gateway.gate.headers import COOKIES, DROP, FRAMING, LIST, Kind, app_cookie, classify, host_of
from gateway.gate.request import RequestFault, RequestHead

LINES: Final = 2048
LONGEST: Final = 1024  # bytes
NEW: Final = 4  # lines of a block that are read alone
LEARNED: Final = 40  # lines of a block that are kept: who sends more is no browser

Parse = Callable[[bytes], list[tuple[bytes, bytes]]]
"""Has llhttp read one whole head and returns its fields; raises RequestFault."""


class KnownField(NamedTuple):
    """What one line means."""

    found: tuple[bytes, bytes] | None  # name in lower case and value, None = dropped
    passed: tuple[bytes, bytes] | None  # name and value as an app gets them in `RequestHead.headers`
    line: bytes  # the same as a line, b"" = none
    last: bytes  # the Cookie line that an app gets, behind all others


class KnownFields:
    """The lines that one worker has read lately: values only, never changed."""

    __slots__ = ("_of", "table")

    def __init__(self) -> None:
        self.table: dict[bytes, KnownField] = {}
        self._of = self.table.__getitem__

    def head_of(self, block: bytes, parse: Parse, longest: int) -> RequestHead | None:
        """Return what all requests with the header `block` (from line end to empty line) have in common.

        None where that takes the whole reading: a field that came twice, or is not one to keep. `longest` is the limit
        for a line in bytes. Raises RequestFault for a Host that is none.
        """
        lines = block[2:-4].split(b"\r\n")
        try:
            return _composed(list(map(self._of, lines)))
        except KeyError:
            pass
        new = [line for line in lines if line not in self.table]
        if len(new) > NEW:  # the whole reading costs less, and lets them be learned
            return None
        for line in new:
            field = _read(line, parse) if len(line) <= min(LONGEST, longest) else None
            if field is None:
                return None
            self._keep(line, field)
        try:
            return _composed(list(map(self._of, lines)))
        except KeyError:  # the table was full in between
            return None

    def learn(self, block: bytes, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep the lines of a block that was read whole, where llhttp read them as one of these `fields` each."""
        lines = block[2:-4].split(b"\r\n")
        if len(lines) != len(fields) or len(lines) > LEARNED:
            return
        for line, read in zip(lines, fields, strict=True):
            if line not in self.table and len(line) <= LONGEST:
                field = _read(line, partial(_already, [read]))
                if field is not None:
                    self._keep(line, field)

    def _keep(self, line: bytes, field: KnownField) -> None:
        if len(self.table) >= LINES:
            self.table.clear()
        self.table[line] = field


def _already(fields: list[tuple[bytes, bytes]], _: bytes) -> list[tuple[bytes, bytes]]:
    """Stand in for llhttp where it has read a line among others."""
    return fields


def _composed(fields: Sequence[KnownField]) -> RequestHead | None:
    """Return the head of these fields together, None where one of them came twice."""
    found, passed, lines, last = zip(*fields, strict=True)
    find = dict(filter(None, found))
    if len(find) + found.count(None) != len(found):
        return None
    head = RequestHead()
    head.host, head.port = host_of(find)
    head.find = find
    head.headers = list(filter(None, passed))
    head.lines = b"".join(lines + last)
    head.keep_alive = True
    return head


def _read(line: bytes, parse: Parse) -> KnownField | None:
    """Return what a line means by itself, None where it is not one to keep."""
    name, colon, rest = line.partition(b":")
    value = rest.strip(b" \t")
    try:
        lower, kind = classify(name)
        if not colon or not _may_be_kept(lower, kind, value):
            return None
        if parse(b"GET / HTTP/1.1\r\n%b\r\n\r\n" % line) != [(name, value)]:
            return None
    except RequestFault:
        return None
    if kind is DROP:
        return KnownField(None, None, b"", b"")
    if kind is FRAMING or kind is LIST:
        return KnownField((lower, value), None, b"", app_cookie(value) if lower == b"cookie" else b"")
    return KnownField((lower, value), (name, value), b"%b: %b\r\n" % (name, value), b"")


def _may_be_kept(lower: bytes, kind: Kind, value: bytes) -> bool:
    if kind is LIST:
        return value == b"keep-alive"
    if kind is FRAMING:
        return lower == b"host" or (lower == b"cookie" and value.count(b";") < COOKIES)
    return lower != b"range" or b"," not in value
