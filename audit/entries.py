r"""What is left of a segment at the end of its retention: the entries of its records (`<…>.entries`), version 1.

One line of JSON, members in exactly this order and spelling, then `count` entries of 32 bytes, then lines that stay::

    {"v":1,"writer":"worker-0","epoch":1,"seq":1,"count":2,"prev":"<64 hex>","kept":0}\n

`seq` is the first record's number, `prev` the entry before it, `kept` the number of lines behind the entries: records
that the proof itself rests on (`KEPT`), each as it stood in the journal. A kept line proves itself: its entry stands in
the list. So the auditor's journal can expire like any other, and what it says of deletions stays.

Nothing of a person is in here: an entry is the digest of a salted record, the salt went with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from audit.event import Action
from audit.segment import Link, whole_lines

VERSION: Final = 1
SIZE: Final = 32  # bytes of an entry
KEPT: Final = frozenset({Action.AUDIT_EXPIRED, Action.AUDIT_TRIMMED})
"""Acts whose records outlive their segment, because a later `audit.verify` needs them. Append only."""

_HEADER: Final = re.compile(
    rb'\{"v":1,"writer":"([a-z0-9.-]{1,64})","epoch":([1-9]\d*),"seq":([1-9]\d*),"count":([1-9]\d*),'
    rb'"prev":"([0-9a-f]{64})","kept":(0|[1-9]\d*)\}\n'
)
_VERSION: Final = re.compile(rb'\{"v":(\d+)[,}]')
_KEPT_MARKS: Final = tuple(b'"event.action":"%b"' % action.encode() for action in sorted(KEPT))


class EntriesInvalid(ValueError):
    """The file is no list of entries that this version can read."""


@dataclass(frozen=True, slots=True)
class Expired:
    """A segment of which only the entries are left. `kept` has the lines that stay, by their number."""

    writer: str
    epoch: int
    seq: int
    prev: bytes
    entries: bytes = field(repr=False)
    kept: Mapping[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """How many records there were."""
        return len(self.entries) // SIZE

    @property
    def last_seq(self) -> int:
        """The last record's number."""
        return self.seq + self.count - 1

    @property
    def digest(self) -> bytes:
        """SHA-256 over all entries in order: what the deletion record names."""
        return sha256(self.entries).digest()

    @property
    def end(self) -> Link:
        """The last record's place in the chain."""
        return Link(self.epoch, self.last_seq, self.entries[-SIZE:])

    def entry(self, seq: int) -> bytes:
        """Return the entry of record `seq`."""
        at = (seq - self.seq) * SIZE
        return self.entries[at : at + SIZE]

    def encode(self) -> bytes:
        """Return the file's bytes."""
        numbers = self.epoch, self.seq, self.count, self.prev.hex().encode(), len(self.kept)
        head = b'{"v":1,"writer":"%b","epoch":%d,"seq":%d,"count":%d,"prev":"%b","kept":%d}\n'
        lines = b"".join(self.kept[seq] for seq in sorted(self.kept))
        return head % (self.writer.encode(), *numbers) + self.entries + lines


def stays(line: bytes) -> bool:
    """Tell whether a line may be of an act in `KEPT`; one that merely quotes such a name stays too."""
    return any(mark in line for mark in _KEPT_MARKS)


def decode(data: bytes) -> Expired:
    """Return what a file holds; raises `EntriesInvalid`. Whether it continues its chain is the reader's to check."""
    match = _HEADER.match(data)
    if match is None:
        version = _VERSION.match(data)
        if version is not None and int(version[1]) != VERSION:
            raise EntriesInvalid(f"version: got {int(version[1])}, expected {VERSION}")
        raise EntriesInvalid(f"header: got {data[:80]!r}, expected one of version {VERSION}")
    epoch, seq, count, kept = int(match[2]), int(match[3]), int(match[4]), int(match[6])
    end = match.end() + count * SIZE
    lines = list(whole_lines(data[end:]))
    length = end + sum(map(len, lines))
    if len(data) != length or len(data) < end or len(lines) != kept:
        raise EntriesInvalid(f"length: got {len(data)} bytes, expected {count} entries and {kept} lines")
    writer, prev = match[1].decode(), bytes.fromhex(match[5].decode())
    return Expired(writer, epoch, seq, prev, data[match.end() : end], _numbered(lines, seq, count))


def load(path: Path) -> Expired:
    """Return what the file holds; raises FileNotFoundError, OSError, `EntriesInvalid`."""
    return decode(path.read_bytes())


def _numbered(lines: Sequence[bytes], seq: int, count: int) -> dict[int, bytes]:
    kept: dict[int, bytes] = {}
    for line in lines:
        match = re.search(rb'"seq":(\d+),"prev":"', line)
        number = int(match[1]) if match else 0
        if not seq <= number < seq + count or (kept and number <= max(kept)):
            raise EntriesInvalid(f"kept line: got record {number}, expected one of {seq} to {seq + count - 1} in order")
        kept[number] = line
    return kept
