"""The documents still to be sent: reads all journals from a cursor and folds their records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from audit import stored
from audit.documents import Document, Folder
from audit.elastic.cursor import Cursor
from audit.reader import IntegrityError, JournalReader
from audit.segment import Link, record_of, segments, writers
from audit.stored import Piece, Recent

_LEAST: Final = 64 * 1024  # bytes read of one journal at once, however many there are


@dataclass(frozen=True, slots=True)
class Portion:
    """Documents in order, and the cursor that holds once all of them are stored or set aside."""

    documents: tuple[Document, ...]
    links: Mapping[str, Link]
    open_requests: Mapping[str, Any]  # as `audit.elastic.cursor.Cursor` keeps them
    oldest: str = ""  # the earliest `@timestamp` among the records behind it, "" = none
    more: bool = False  # a journal had more than was to be read


class DocumentSource:
    """Follows every writer's journal. A writer whose chain breaks is read no further (`refused`)."""

    def __init__(self, journals: Path, cursor: Cursor, recent: Recent | None = None) -> None:
        """Go on from `cursor`; reads the decisions that were open there. Raises OSError.

        What `recent` has is not read again from the journals.
        """
        self._journals = journals
        self._recent = recent
        self.folder = Folder.restore(reopened(journals, cursor.open_requests))
        self._readers = {name: self._reader(name, link) for name, link in cursor.done.items()}
        self.links = dict(cursor.done)  # behind the last record that was handed out
        self.more = False  # a journal had more than was to be read
        self.refused: dict[str, IntegrityError] = {}

    def portion(self, now: float, budget: int) -> Portion:
        """Return what the journals have grown by, about `budget` bytes of all; `now` decides what is overdue."""
        made: list[Document] = []
        oldest = ""
        for _, piece in self.pieces(budget):
            for line in piece.lines:
                body = record_of(line)
                if not oldest or body["@timestamp"] < oldest:
                    oldest = body["@timestamp"]
                made += self.folder.take(body, now)
        made += self.folder.overdue(now)
        return Portion(tuple(made), dict(self.links), self.open_requests(), oldest, self.more)

    def pieces(self, budget: int) -> Iterator[tuple[str, Piece]]:
        """Yield what the journals have grown by with the writers' names, about `budget` bytes of all."""
        self.more = False
        names = writers(self._journals)
        share = max(_LEAST, budget // max(1, len(names)))
        for name in names:
            if name in self.refused:
                continue
            reader = self._readers.get(name)
            if reader is None:
                reader = self._readers[name] = self._reader(name, None)
            size = 0
            while size < share and (piece := self._read(reader, share - size)) is not None:
                size += len(piece.data)
                yield name, piece
            self.more = self.more or size >= share

    def _reader(self, name: str, link: Link | None) -> JournalReader:
        return JournalReader(self._journals, name, link, recent=self._recent)

    def _read(self, reader: JournalReader, size: int) -> Piece | None:
        try:
            piece = reader.piece(size)
        except IntegrityError as error:  # also of the good records before the bad one nothing was handed out
            self.refused[reader.writer] = error
            return None
        if reader.link.seq:
            self.links[reader.writer] = reader.link
        return piece

    def open_requests(self) -> dict[str, Any]:
        """Return the requests that are open now, as `Cursor` keeps them."""
        return {
            waiting.record["http.request.id"]: {
                "at": [waiting.record[name] for name in ("writer", "epoch", "seq")],
                "since": waiting.since, "shown": waiting.shown,
            }
            for waiting in self.folder.open_requests()
        }  # fmt: skip


def reopened(journals: Path, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Give open requests their records back (`Folder.restore`); one whose decision is no longer kept is left out."""
    whole = {request: row for request, row in kept.items() if "record" in row}
    wanted: dict[str, dict[tuple[int, int], str]] = defaultdict(dict)
    for request, row in kept.items():
        if request not in whole:
            writer, epoch, seq = row["at"]
            wanted[writer][epoch, seq] = request
    for writer, places in wanted.items():
        known = segments(journals / writer) if (journals / writer).is_dir() else []
        left = sorted(places)
        for segment in reversed(known):
            here = []
            while left and left[-1] >= segment.key:
                here.append(left.pop())
            lines = stored.whole(segment).split(b"\n")[:-1] if here else []
            for epoch, seq in here:
                index = seq - segment.first_seq
                if epoch == segment.epoch and index < len(lines):
                    request = places[epoch, seq]
                    whole[request] = {**kept[request], "record": record_of(lines[index] + b"\n")}
    return whole
