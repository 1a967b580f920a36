"""What a document that a copy holds comes from, by the record that it says it begins with.

For documents at a time where none was expected: few records of the same few segments, whose lines are kept at hand.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Final

from audit import stored
from audit.documents import Document, Folder
from audit.elastic.derivation import first_line, open_document, request_id
from audit.scan import Position, request_of
from audit.seekable import SegmentDamaged
from audit.segment import LineFault, Segment, claimed, record_of, segments, writers

_HELD: Final = 4  # segments whose lines are at hand


class Origins:
    """Looks records up by their place."""

    def __init__(self, journals: Path) -> None:
        self._segments = {name: segments(journals / name) for name in writers(journals)}
        self._lines: OrderedDict[Path, list[bytes]] = OrderedDict()

    def knows(self, writer: str) -> bool:
        """Whether there is a journal of this writer."""
        return writer in self._segments

    def documents(self, writer: str, place: Position, completed: int | None) -> dict[str, Document | None]:
        """Return, by id, the documents that begin with a record; empty where there is no such record (any more).

        With the number of its completion a request is whole; without, its id is known and its document None.
        """
        line = self._line(writer, place)
        if not line:
            return {}
        record = record_of(line)
        folder = Folder()
        made = folder.take(record, 0.0)
        if made:
            return {document.id: document for document in made}
        opened, request = open_document(record), request_id(record)
        found: dict[str, Document | None] = {opened.id: opened, request: None}
        for epoch in (place[0], place[0] + 1) if completed else ():  # a journal that failed goes on in the next
            end = self._line(writer, (epoch, completed or 0))
            if end and request_of(end) == request.encode():
                found |= {document.id: document for document in folder.take(record_of(end), 0.0)}
                break
        return found

    def is_gone(self, writer: str, place: Position) -> bool:
        """Whether a record was deleted since: its segment has expired, or the journal begins behind it."""
        found = self._segments.get(writer)
        if not found:
            return False
        holder = self._holder(writer, place)
        if holder is not None:
            return holder.expired
        try:
            before = claimed(writer, first_line(found[0]))
        except LineFault:
            return found[0].expired
        return place <= (before.epoch, before.seq)

    def _holder(self, writer: str, place: Position) -> Segment | None:
        return next((each for each in reversed(self._segments.get(writer, ())) if each.key <= place), None)

    def _line(self, writer: str, place: Position) -> bytes:
        """Return the line at a place, empty where there is none."""
        segment = self._holder(writer, place)
        if segment is None or segment.epoch != place[0]:
            return b""
        if segment.path not in self._lines:
            self._lines[segment.path] = _lines_of(segment)
            if len(self._lines) > _HELD:
                self._lines.popitem(last=False)
        lines, number = self._lines[segment.path], place[1] - segment.first_seq
        return lines[number] + b"\n" if number < len(lines) else b""


def _lines_of(segment: Segment) -> list[bytes]:
    """Return a segment's lines, none where it cannot be read: the comparison tells of that journal as a whole."""
    try:
        return stored.whole(segment).split(b"\n")[:-1]
    except SegmentDamaged:
        return []
