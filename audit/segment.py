r"""The format of a journal on disk: lines, the chain over them, and the names of the files that hold them.

A writer's folder holds segments `<epoch>-<first seq>.jsonl` (sealed, 0400) and at most one `….active` (being written).
A sealed one is later `….jsonl.zst` (`audit.seekable`) and at the end of its retention `….entries` (`audit.entries`);
`audit.stored` reads them all. `….torn` keeps what a crash left behind a segment's last whole record; `….opening` was
never part of the journal.

One record is one line::

    {"salt":"<32 hex>","body":{"v":1,"writer":"worker-0","epoch":1,"seq":1,"prev":"<64 hex>", … the event's fields}}\n

entry = SHA-256(salt bytes ‖ the body's exact bytes). `prev` is the entry before it, over segments and epochs; 64 zeros
for a writer's first record. `seq` counts from 1 in each epoch. The members up to `prev` stand in exactly this order and
spelling, so that a reader compares bytes and never re-serialises. This format is frozen as version 1.

A body may leave out fields that its action implies (`audit.event`): `record_of` reads it whole.
"""

from __future__ import annotations

import os
import re
from binascii import hexlify, unhexlify
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import Any, Final

import orjson

from audit.event import whole
from audit.merkle import SHORT, sha256_short

VERSION: Final = 1
GENESIS: Final = bytes(32)  # the entry before a writer's first record
LINE_LIMIT: Final = 1_048_576  # bytes of one line; a longer record is refused by the writer
WRITER_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?")

TRIMMED: Final = b'"event.action":"audit.trimmed"'  # how a line says that older segments were deleted

SALT_OPEN: Final = b'{"salt":"'
BODY_OPEN: Final = b'","body":'
PREV_OPEN: Final = b',"prev":"'
_PREV_END: Final = b'",'
_LINE_END: Final = b"}\n"
BODY_AT: Final = len(SALT_OPEN) + 32 + len(BODY_OPEN)
_SALT: Final = slice(len(SALT_OPEN), len(SALT_OPEN) + 32)
_SEGMENT_NAME: Final = re.compile(r"(\d{6,})-(\d{12,})\.(jsonl|jsonl\.zst|entries|active)")

ACTIVE: Final = "active"
PLAIN: Final = "jsonl"
COMPRESSED: Final = "jsonl.zst"
EXPIRED: Final = "entries"
SEALED: Final = (PLAIN, COMPRESSED, EXPIRED)
FORMS: Final = (*SEALED, ACTIVE)
"""Suffixes of a segment's file. Of one found under several names the first of these counts: a step from one form to the
next that a crash cut short is then simply done again (`audit.keeping`)."""


Unchained = tuple[bytes, bytes]
"""A record before it has its place: members of its event that others have too (each with a comma behind it), and its
event's own, a JSON object that is not empty."""
SALT: Final = 16  # bytes
_SALTS: Final = Struct(f"{SALT}s")
_SHOWN: Final = Struct(f"{2 * SALT}s")


class LineFault(Exception):
    """A line that does not continue its chain: `what` differs, `got` stands there, `expected` should."""

    def __init__(self, what: str, got: str, expected: str) -> None:
        super().__init__(f"{what}: got {got}, expected {expected}")
        self.what = what
        self.got = got
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a writer's journal."""

    path: Path
    epoch: int
    first_seq: int
    sealed: bool

    @property
    def key(self) -> tuple[int, int]:
        """Segments in this order are the journal."""
        return self.epoch, self.first_seq

    @property
    def form(self) -> str:
        """How its records are stored: one of `FORMS`."""
        return self.path.name.partition(".")[2]

    @property
    def expired(self) -> bool:
        """Whether only the entries of its records are left."""
        return self.form == EXPIRED

    def under(self, form: str) -> Segment:
        """Return the same segment under the name of another form, whether it is there or not."""
        return Segment(self.path.with_name(name_of(*self.key, form)), *self.key, form != ACTIVE)


@dataclass(frozen=True, slots=True)
class Link:
    """One place in a writer's chain: the record with this number has this entry."""

    epoch: int
    seq: int
    entry: bytes


def head(writer: str, epoch: int) -> bytes:
    """Return the constant start of every body of this writer and epoch."""
    return b'{"v":%d,"writer":"%b","epoch":%d,"seq":' % (VERSION, writer.encode(), epoch)


def encode_all(start: bytes, seq: int, prev: bytes, salts: bytes, records: Sequence[Unchained]) -> tuple[bytes, bytes]:
    """Return the lines of records that follow each other, the first numbered `seq`, and the last one's entry in hex.

    `start` is `head(…)`, `prev` the entry before the first in hex, `salts` as many random bytes as `SALT` says for each
    record.
    """
    pieces: list[bytes] = []
    add, join = pieces.extend, b"".join
    shown = _SHOWN.iter_unpack(hexlify(salts))
    numbers = " ".join(map(str, range(seq, seq + len(records)))).encode().split()
    for (salt,), (hexadecimal,), number, (members, event) in zip(
        _SALTS.iter_unpack(salts), shown, numbers, records, strict=True
    ):
        # Joined, not formatted: formatting does not know the size beforehand, and a body is a kilobyte or two.
        body = join((start, number, PREV_OPEN, prev, _PREV_END, members, event[1:]))
        add((SALT_OPEN, hexadecimal, BODY_OPEN, body, _LINE_END))
        prev = hexlify(sha256(salt + body).digest())
    return join(pieces), prev


def encode(start: bytes, seq: int, prev: bytes, salt: bytes, event: bytes) -> tuple[bytes, bytes]:
    """Return the line of one record and its entry in hex; like `encode_all`."""
    return encode_all(start, seq, prev, salt, [(b"", event)])


def event_at(writer: str, epoch: int) -> int:
    """Return where in a line of this chain the event's own members begin, but for the digits of the record's number."""
    return BODY_AT + len(head(writer, epoch)) + len(PREV_OPEN) + 2 * len(GENESIS) + len(_PREV_END)


def body_of(line: bytes) -> bytes:
    """Return the body's bytes of a whole, well-formed line."""
    return line[BODY_AT:-2]


def record_of(line: bytes) -> dict[str, Any]:
    """Return the record of a whole, well-formed line, with the fields that its action implies.

    Raises `orjson.JSONDecodeError` where the body is no JSON: a line that nothing has proved may be anything.
    """
    body: dict[str, Any] = orjson.loads(body_of(line))
    return whole(body)


Chained = Callable[[bytes, bytes, int, bytes], tuple[bytes, int]]


def chained(data: bytes, start: bytes, seq: int, prev: bytes) -> tuple[bytes, int]:
    """Return the entries, 32 bytes each, of the whole lines of `data` up to the first that does not continue the chain.

    The number is where that one begins, or what follows the last newline. `start` is `head(…)`, `seq` the number of the
    first line, `prev` the entry before it.
    """
    cited = hexlify(prev)
    opened = BODY_OPEN + start + b"%d" + PREV_OPEN + b"%b" + _PREV_END
    entries: list[bytes] = []
    end = 0
    lines = data.split(b"\n")
    lines.pop()  # what follows the last newline is not a line yet
    for number, line in enumerate(lines, seq):
        hexadecimal = line[_SALT]
        try:
            salt = unhexlify(hexadecimal)
        except ValueError:
            break
        if not (line.startswith(opened % (number, cited), _SALT.stop) and line.startswith(SALT_OPEN)):
            break
        if line[-2:] != b"}}" or hexlify(salt) != hexadecimal:
            break
        entry = (sha256 if len(line) > SHORT else sha256_short)(salt + line[BODY_AT:-1]).digest()
        entries.append(entry)
        end += len(line) + 1
        cited = hexlify(entry)
    return b"".join(entries), end


def cited(data: bytes, start: bytes, seq: int, prev: bytes) -> tuple[bytes, int]:
    """As `chained`, but each entry is what the next line says it is; only the last line is hashed.

    For those who show lines as they stand: a line that was changed is shown changed.
    """
    opening = BODY_OPEN + start
    entries: list[bytes] = []
    end = 0
    salt = last = b""
    lines = data.split(b"\n")
    lines.pop()
    for number, line in enumerate(lines, seq):
        opened = b"%b%d%b" % (opening, number, PREV_OPEN)
        at = _SALT.stop + len(opened)
        try:
            before, own = unhexlify(line[at : at + 64]), unhexlify(line[_SALT])
        except ValueError:
            break
        if not line.startswith(opened, _SALT.stop) or not line.startswith(_PREV_END, at + 64) or line[-2:] != b"}}":
            break
        if number == seq and before != prev:
            break
        entries.append(before)
        salt, last, end = own, line, end + len(line) + 1
    if not last:
        return b"", 0
    return b"".join(entries[1:]) + sha256(salt + last[BODY_AT:-1]).digest(), end


class Chain:
    """Follows one writer's chain line by line. Starts after `after`, or before everything."""

    __slots__ = ("_head", "entry", "epoch", "seq", "writer")

    def __init__(self, writer: str, after: Link | None = None) -> None:
        self.writer = writer
        self.epoch, self.seq, self.entry = (after.epoch, after.seq, after.entry) if after else (0, 0, GENESIS)
        self._head = head(writer, self.epoch)

    @property
    def link(self) -> Link:
        """Where the chain stands."""
        return Link(self.epoch, self.seq, self.entry)

    def turn(self, epoch: int) -> None:
        """Begin the next epoch: its first record has seq 1 and cites the entry before it."""
        self.epoch, self.seq, self._head = epoch, 0, head(self.writer, epoch)

    def pass_over(self, entries: bytes) -> None:
        """Follow records of which nothing but their entries (32 bytes each) is left."""
        self.seq += len(entries) // len(GENESIS)
        self.entry = entries[-len(GENESIS) :] or self.entry

    def accept(self, line: bytes) -> bytes:
        """Check that `line` (with its newline) continues the chain and return its entry; raises `LineFault`."""
        body = line[BODY_AT:-2]
        expected = b'%b%d,"prev":"%b",' % (self._head, self.seq + 1, self.entry.hex().encode())
        if (
            not body.startswith(expected)
            or not line.startswith(SALT_OPEN)
            or line[_SALT.stop : BODY_AT] != BODY_OPEN
            or not line.endswith(b"}}\n")
        ):
            raise self._fault(line)
        try:
            salt = bytes.fromhex(line[_SALT].decode())
        except ValueError as error:
            raise LineFault("salt", repr(line[_SALT]), "32 hex digits") from error
        if salt.hex().encode() != line[_SALT]:
            raise LineFault("salt", repr(line[_SALT]), "32 lower-case hex digits")
        self.entry = sha256(salt + body).digest()
        self.seq += 1
        return self.entry

    def accept_all(self, data: bytes, chained: Chained = chained) -> tuple[bytes, LineFault | None]:
        """Check that all whole lines of `data` continue the chain; like `accept` for each, in less time.

        Returns the entries of those that do, 32 bytes each, and the fault of the first that does not.
        """
        entries, end = chained(data, self._head, self.seq + 1, self.entry)
        self.seq += len(entries) // len(GENESIS)
        self.entry = entries[-len(GENESIS) :] or self.entry
        newline = data.find(b"\n", end)
        if newline < 0:
            return entries, None
        try:
            self.accept(data[end : newline + 1])
        except LineFault as fault:
            return entries, fault
        raise AssertionError("a line is refused among others and accepted alone")

    def _fault(self, line: bytes) -> LineFault:
        try:
            body = orjson.loads(line)["body"]
            found = {name: body[name] for name in ("v", "writer", "epoch", "seq", "prev")}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return LineFault("format", repr(line[:80]), "one record of version 1")
        wanted = {
            "v": VERSION, "writer": self.writer, "epoch": self.epoch, "seq": self.seq + 1, "prev": self.entry.hex(),
        }  # fmt: skip
        for name, value in wanted.items():
            if found[name] != value:
                return LineFault(name, str(found[name]), str(value))
        return LineFault("format", repr(line[:80]), "the members in their frozen order and spelling")


def claimed(writer: str, line: bytes) -> Link:
    """Return the place before `line` as the line itself claims it; raises `LineFault` if it claims none."""
    try:
        body = orjson.loads(line)["body"]
        if body["writer"] != writer:
            raise LineFault("writer", str(body["writer"]), writer)
        prev = bytes.fromhex(body["prev"])
        if len(prev) != len(GENESIS):
            raise LineFault("prev", body["prev"][:80], "64 hex digits")
        return Link(int(body["epoch"]), int(body["seq"]) - 1, prev)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise LineFault("format", repr(line[:80]), "one record of version 1") from error


def name_of(epoch: int, first_seq: int, suffix: str) -> str:
    """Return the file name of a segment: the suffix is one of `FORMS`, `opening` or `torn`."""
    return f"{epoch:06d}-{first_seq:012d}.{suffix}"


def segments(folder: Path) -> list[Segment]:
    """Return a writer's segments in order; of a segment found under several names the first of `FORMS` counts."""
    found: dict[tuple[int, int], Segment] = {}
    for name in os.listdir(folder):  # noqa: PTH208 (names are what is needed, polled often)
        match = _SEGMENT_NAME.fullmatch(name)
        if match:
            segment = Segment(folder / name, int(match[1]), int(match[2]), match[3] != ACTIVE)
            other = found.get(segment.key)
            if other is None or FORMS.index(match[3]) < FORMS.index(other.form):
                found[segment.key] = segment
    return [found[key] for key in sorted(found)]


def writers(root: Path) -> list[str]:
    """Return the names of all writers that have a journal under `root`, sorted."""
    try:
        with os.scandir(root) as found:  # asked often, and it knows which are folders
            return sorted(item.name for item in found if WRITER_NAME.fullmatch(item.name) and item.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def whole_lines(data: bytes) -> Iterator[bytes]:
    """Yield each line that ends in a newline, newline included; what follows the last newline is left out."""
    start = 0
    while (end := data.find(b"\n", start) + 1) > 0:
        yield data[start:end]
        start = end
