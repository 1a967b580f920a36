r"""Rows of the index: what each document becomes, and a passed request's row straight from its two lines.

Nearly every record is the decision or the completion of a request that passed and was answered whole. Of such a pair
`Passed` makes the row without reading JSON: a decision's members that many have in common are read once (`_Shared`),
its own and those of the completion are recognised byte by byte, and the event is put together from these pieces. Bytes
that are not exactly so are left to `audit.documents`, and `row_of` a document gives the same row, byte for byte.

Such rows go to DuckDB as `audit.index.lines` says.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from audit.completion import OWN
from audit.documents import FORWARDED, Document, event_of
from audit.event import IMPLIED
from audit.index.files import COLUMNS, FOLDED
from audit.index.lines import EVENT_END, EVENT_ID, IMPLICIT, NULL, VARYING
from audit.query import folded
from audit.scan import COMPLETED

_SHARED_KEPT: Final = 1024
_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN: Final = rb'[^"\\\x00-\x1f\x7f]'  # of a JSON string: stands for itself
_WHOLE: Final = rb"(?:0|[1-9][0-9]{0,17})"
_REAL: Final = rb"(?:0|[1-9][0-9]{0,8})\.(?:0|[0-9]{0,2}[1-9])"  # as `round(…, 3)` is written
_TIME: Final = rb"[0-9T:.Z-]{24}"  # ASCII: the row says nothing else of it, and folding leaves it as it is
_ONLY_OWN: Final = re.compile(
    rb'"@timestamp":"(%b)","http.request.id":"(%b+)","http.request.method":"([A-Z]+)","url.path":"(%b*)"'
    rb'(?:,"url.query":"%b*")?\}\}\n' % (_TIME, _PLAIN, _PLAIN, _PLAIN)
)
_ENDED: Final = re.compile(
    rb'%b,"@timestamp":"(%b)","http.request.id":"(%b+)","event.outcome":"success",'
    rb'("sekisho.outcome":"complete","http.request.body.bytes":%b,"http.response.body.bytes":%b,'
    rb'"event.duration":%b,"http.response.status_code":([1-9][0-9]{2}),"sekisho.upstream.first_byte_ms":%b)\}\}\n'
    % (re.escape(COMPLETED), _TIME, _PLAIN, _WHOLE, _WHOLE, _WHOLE, _REAL)
)
_OF_OTHERS: Final = IMPLIED | {
    "v", "writer", "epoch", "seq", "prev", "event.id", "event.end", "@timestamp", "http.request.id",
    "http.request.method", "url.path", "url.query", "sekisho.outcome", "http.request.body.bytes",
    "http.response.body.bytes", "event.duration", "http.response.status_code", "sekisho.upstream.first_byte_ms",
    "sekisho.journal.writer", "sekisho.journal.epoch", "sekisho.journal.seq", "sekisho.journal.completed_seq",
}  # fmt: skip
"""Fields that shared members must not have: they come from elsewhere."""


class Shared(NamedTuple):
    """What members that many decisions have in common say."""

    number: bytes  # no other has it
    line: bytes  # for DuckDB
    opened: bytes  # how the event begins: all these members, each with a comma behind it
    foreign: str  # all that is not ASCII


class Half(NamedTuple):
    """A decision that waits for its completion."""

    request: bytes  # its id
    line: bytes
    own: int  # where in the line the decision's own members begin
    match: re.Match[bytes]  # of these
    shared: Shared
    writer: str
    epoch: int
    seq: int
    since: float  # when it was read, seconds since the epoch


class Passed:
    """Makes rows of requests that passed and were answered whole."""

    def __init__(self) -> None:
        self._shared: dict[bytes, Shared | None] = {}
        self._made = 0

    def decided(self, line: bytes, begin: int, place: tuple[str, int, int], now: float) -> Half | None:
        """Return a decision that `joined` will take, None for any other line.

        `begin` is where the event begins in the line, `place` its writer, epoch and number.
        """
        own = line.find(OWN, begin)
        match = _ONLY_OWN.fullmatch(line, own) if own > 0 else None
        if match is None:
            return None
        members = line[begin:own]
        try:
            shared = self._shared[members]
        except KeyError:
            if len(self._shared) >= _SHARED_KEPT:
                self._shared.clear()
            self._made += 1
            shared = self._shared[members] = _shared(members, b"%d" % self._made)
        if shared is None:
            return None
        return Half(match[2], line, own, match, shared, *place, now)


def ended(line: bytes, begin: int) -> re.Match[bytes] | None:
    """Return what says how a request ended that was answered whole, None for any other line; 2 is the request's id."""
    return _ENDED.fullmatch(line, begin)


def joined(half: Half, end: re.Match[bytes]) -> bytes | None:
    """Return the row of decision and completion as a line for DuckDB, None where it cannot be one."""
    _, line, at, match, shared, name, number, count, _ = half
    ts, request, method, path = match.groups()
    ended_at, _, answer, status = end.groups()
    own = line[at:-3]
    writer, epoch, seq = name.encode(), str(number).encode(), str(count).encode()
    foreign, told = shared.foreign, NULL
    if not own.isascii():
        try:
            foreign += "".join(_FOREIGN.findall(own.decode()))
        except UnicodeDecodeError:
            return None
    if foreign and not _stays(foreign):
        at_end = writer + b":" + epoch + b":" + seq + b'",' + answer + EVENT_END + ended_at + b'"}'
        told = folded((shared.opened + own + EVENT_ID + at_end).decode()).encode()
    values = ts, writer, epoch, seq, shared.number, path, request, method, status, told, own, answer, ended_at
    return b"\t".join(values) + b"\n"


def _shared(members: bytes, number: bytes) -> Shared | None:
    """Return what these members say; None where rows have to be made of the whole record."""
    try:
        fields: dict[str, Any] = orjson.loads(b"{%b}" % members[:-1])
    except orjson.JSONDecodeError:
        return None
    passed = fields.get("event.outcome") == "success" and fields.get("sekisho.verdict") in FORWARDED
    if not passed or orjson.dumps(fields)[1:-1] + b"," != members or not fields.keys().isdisjoint(_OF_OTHERS):
        return None
    columns: list[bytes] = [number]
    for name in COLUMNS:
        value = "complete" if name == "sekisho.outcome" else fields.get(name, IMPLICIT.get(name))
        if name in VARYING:
            continue
        if value is None:
            columns.append(NULL)
        elif isinstance(value, str) and not _CONTROL.search(value):
            columns.append(value.encode())
        else:
            return None
    opened = b"{" + members
    line = b"\t".join((*columns, opened)) + b"\n"
    return Shared(number, line, opened, "".join(_FOREIGN.findall(members.decode())))


def row_of(document: Document) -> dict[str, Any]:
    """Return the row that a document becomes: its columns as they are written."""
    writer, epoch, seq, event = event_of(document)
    encoded = orjson.dumps(event)
    row = {"ts": event["@timestamp"], "writer": writer, "epoch": epoch, "seq": seq}
    row |= {column: event.get(field) for field, column in COLUMNS.items()}
    return row | {FOLDED: _folded(encoded), "event": encoded.decode()}


def _folded(encoded: bytes) -> str | None:
    """Return an event's folded text where that is more than its ASCII letters in lower case."""
    if encoded.isascii():
        return None
    text = encoded.decode()
    return None if _stays("".join(_FOREIGN.findall(text))) else folded(text)


@lru_cache(maxsize=4096)
def _stays(foreign: str) -> bool:
    """Whether folding leaves these characters as they are, whatever ASCII stands between them; records repeat them."""
    return folded(foreign) == foreign and not any(map(unicodedata.combining, foreign))
