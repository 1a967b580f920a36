"""How far the shipper is: one small file, replaced whole.

`done` is where everything before was stored or set aside. `sending` is where the batch ends that was on its way when
the file was written: after a crash the documents between the two may or may not be stored, and a rollover in between
would make `create` take them twice. So they are looked up before they are sent again.

Of an open request only its place is kept, not its record: the file is written several times a second, and a city has
thousands of tunnels open. Version 1 kept the records; it is still read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from audit import durable
from audit.segment import Link

VERSION = 2
_READABLE = (1, 2)


class CursorInvalid(Exception):
    """The file is not one of ours: the shipper must not guess where it was."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Positions by writer, and the requests that were open there, by id.

    An open request is `{"at": [writer, epoch, seq], "since": seconds, "shown": bool}`; in version 1 it has its `record`
    instead of `at` (`audit.documents.Folder.snapshot`).
    """

    done: Mapping[str, Link] = field(default_factory=dict)
    open_requests: Mapping[str, Any] = field(default_factory=dict)
    sending: Mapping[str, Link] | None = None

    def dump(self) -> bytes:
        """Return the file's content."""
        body = {
            "v": VERSION,
            "done": _rows(self.done),
            "open": dict(self.open_requests),
            "sending": None if self.sending is None else _rows(self.sending),
        }
        return orjson.dumps(body)

    @classmethod
    def parse(cls, data: bytes) -> Cursor:
        """Read the file's content; raise `CursorInvalid`."""
        try:
            body = orjson.loads(data)
            if body["v"] not in _READABLE:
                raise CursorInvalid(f"version {body['v']}, expected {VERSION}")
            sending = body["sending"]
            return cls(_links(body["done"]), body["open"], None if sending is None else _links(sending))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CursorInvalid(f"{type(error).__name__}: {error}") from error


def load(path: Path) -> Cursor:
    """Return the stored cursor, an empty one where there is no file; raise `CursorInvalid`, OSError."""
    try:
        return Cursor.parse(path.read_bytes())
    except FileNotFoundError:
        return Cursor()


def save(path: Path, cursor: Cursor) -> None:
    """Make `cursor` durable; raise OSError."""
    durable.replace(path, cursor.dump(), 0o600)


def _rows(links: Mapping[str, Link]) -> dict[str, list[Any]]:
    return {name: [link.epoch, link.seq, link.entry.hex()] for name, link in links.items()}


def _links(rows: Mapping[str, Any]) -> dict[str, Link]:
    return {name: Link(int(epoch), int(seq), bytes.fromhex(entry)) for name, (epoch, seq, entry) in rows.items()}
