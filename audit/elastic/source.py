"""The documents still to be sent: reads all journals from a cursor and folds their records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.documents import Document, Folder
from audit.elastic.cursor import Cursor
from audit.reader import IntegrityError, JournalReader
from audit.segment import Link, record_of, writers


@dataclass(frozen=True, slots=True)
class Portion:
    """Documents in order, and the cursor that holds once all of them are stored or set aside."""

    documents: tuple[Document, ...]
    links: Mapping[str, Link]
    open_requests: Mapping[str, Any]
    oldest: str = ""  # the earliest `@timestamp` among the records behind it, "" = none


class DocumentSource:
    """Follows every writer's journal. A writer whose chain breaks is read no further (`refused`)."""

    def __init__(self, journals: Path, cursor: Cursor) -> None:
        self._journals = journals
        self._folder = Folder.restore(cursor.open_requests)
        self._readers = {name: JournalReader(journals, name, link) for name, link in cursor.done.items()}
        self.refused: dict[str, IntegrityError] = {}

    def portion(self, now: float, chunk: int) -> Portion:
        """Return what the journals have grown by, about `chunk` bytes of each; `now` decides what is overdue."""
        made: list[Document] = []
        oldest = ""
        for name in writers(self._journals):
            if name in self.refused:
                continue
            reader = self._readers.setdefault(name, JournalReader(self._journals, name))
            try:
                records = reader.read(chunk)
            except IntegrityError as error:
                self.refused[name] = error
                continue
            for record in records:
                body = record_of(record.line)
                if not oldest or body["@timestamp"] < oldest:
                    oldest = body["@timestamp"]
                made += self._folder.take(body, now)
        made += self._folder.overdue(now)
        links = {name: reader.link for name, reader in self._readers.items() if reader.link.seq}
        return Portion(tuple(made), links, self._folder.snapshot(), oldest)
