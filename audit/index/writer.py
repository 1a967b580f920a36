"""Builds the embedded index: takes documents from the journals and writes them as Parquet micro-batches.

Order, and why a crash between is harmless: the Parquet file is written and synced, then the manifest names it together
with the new place in the journals. A crash before that leaves a file nobody names, removed at the next start.
DuckDB writes the files through a database in memory; many small files are joined into a larger one (`compact`), and
rows of what the journals no longer have are left out of new ones (`forget`), in the same order.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from audit import durable
from audit.documents import Document, event_of
from audit.elastic.cursor import Cursor
from audit.elastic.source import DocumentSource
from audit.index.files import COLUMNS, FOLDED, MANIFEST, load, save
from audit.index.gone import Gone, condition, gone
from audit.query import folded
from audit.reader import IntegrityError

BATCH: Final = 20_000  # documents of one file at most
JOINED: Final = 16  # small files that become one
LARGE: Final = 64 * 1024 * 1024  # bytes from which a file is left alone
_CHUNK: Final = 1 << 20
_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")
_SCHEMA: Final = {
    "ts": "VARCHAR", "writer": "VARCHAR", "epoch": "BIGINT", "seq": "BIGINT",
    **dict.fromkeys(COLUMNS.values(), "VARCHAR"), FOLDED: "VARCHAR", "event": "VARCHAR",
}  # fmt: skip
_GROUP: Final = 16_384  # rows
FORMAT: Final = (
    f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP}, DICTIONARY_SIZE_LIMIT {_GROUP}, "
    "STRING_DICTIONARY_PAGE_SIZE_LIMIT 4194304)"
)
"""A group's keywords are one dictionary however many they are: then it has a Bloom filter, and who asks for one path or
one request reads none of the groups without it."""


class IndexWriter:
    """The one writer of an index folder."""

    def __init__(self, journals: Path, folder: Path) -> None:
        """Load the manifest and remove what it does not name; raises OSError, ValueError."""
        durable.make_directory(folder)
        self._journals = journals
        self._folder = folder
        self.manifest = load(folder)
        cursor = Cursor(self.manifest.links, self.manifest.open_requests)
        self._source = DocumentSource(journals, cursor)
        self._waiting: list[Document] = []
        self._next = self.manifest
        self._tidy()

    @property
    def refused(self) -> dict[str, IntegrityError]:
        """Writers whose journal does not continue its chain, read no further."""
        return self._source.refused

    @property
    def waiting(self) -> int:
        """Documents taken in that no file holds yet."""
        return len(self._waiting)

    def poll(self, now: float) -> int:
        """Take in what the journals have grown by; return the number of documents."""
        portion = self._source.portion(now, _CHUNK)
        made = [document for document in portion.documents if not document.id.endswith(".open")]
        self._waiting += made
        self._next = replace(self._next, links=portion.links, open_requests=portion.open_requests)
        return len(made)

    def flush(self) -> None:
        """Write what waits into a file and make it count; raises OSError, duckdb.Error."""
        if self._waiting:
            rows = sorted((row_of(document) for document in self._waiting), key=lambda row: str(row["ts"]))
            name = _name(self._next.made + 1)
            self._write(name, rows)
            listed = (*self._next.files, (name, str(rows[0]["ts"]), str(rows[-1]["ts"])))
            self._next = replace(self._next, files=listed, made=self._next.made + 1)
        save(self._folder, self._next)
        self.manifest, self._waiting = self._next, []

    def compact(self) -> bool:
        """Join the newest small files into one if there are enough; return whether that was done."""
        small = [each for each in self.manifest.files if (self._folder / each[0]).stat().st_size < LARGE]
        if len(small) < JOINED:
            return False
        name = _name(self._next.made + 1)
        files = [str(self._folder / each[0]) for each in small]
        self._copy(name, "SELECT * FROM read_parquet(?) ORDER BY ts, writer, epoch, seq", [files])
        joined = (name, min(each[1] for each in small), max(each[2] for each in small))
        kept = tuple(each for each in self.manifest.files if each not in small)
        self._swap((*kept, joined), self._next.made + 1, self.manifest.gone)
        return True

    def forget(self) -> bool:
        """Drop the rows of what the journals no longer have; return whether there was anything new of it."""
        lost = gone(self._journals)
        if lost == self.manifest.gone:
            return False
        chosen, parameters = condition(lost)
        left: list[tuple[str, str, str]] = []
        made = self._next.made
        for each in self.manifest.files:
            kept = self._kept(each[0], chosen, parameters)
            if kept is None:
                left.append(each)
            elif kept:
                made += 1
                self._copy(_name(made), f"SELECT * FROM read_parquet(?) WHERE NOT ({chosen})", [  # noqa: S608 (our names)
                    str(self._folder / each[0]), *parameters,
                ])  # fmt: skip
                left.append((_name(made), each[1], each[2]))
        self._swap(tuple(left), made, lost)
        return True

    def _kept(self, name: str, chosen: str, parameters: list[object]) -> int | None:
        """Return how many rows of a file stay, None where all do."""
        with duckdb.connect() as database:
            database.execute("SET threads = 1")
            answer = database.execute(
                f"SELECT count(*), count(*) FILTER (WHERE {chosen}) FROM read_parquet(?)",  # noqa: S608 (our names)
                [*parameters, str(self._folder / name)],
            )
            ((rows, going),) = answer.fetchall()
        return rows - going if going else None

    def _swap(self, files: tuple[tuple[str, str, str], ...], made: int, lost: Gone) -> None:
        """Have other files count. What waits is not in any of them: the manifest's place must stay before it."""
        self._next = replace(self._next, files=files, made=made, gone=lost)
        after = replace(self.manifest, files=files, made=made, gone=lost)
        save(self._folder, after)
        self.manifest = after
        self._tidy()

    def _write(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        source = self._folder / "batch.ndjson"
        source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        columns = ", ".join(f"'{column}': '{kind}'" for column, kind in _SCHEMA.items())
        query = f"SELECT * FROM read_json(?, format='newline_delimited', columns={{{columns}}})"  # noqa: S608 (our names)
        self._copy(name, query, [str(source)])
        source.unlink()

    def _copy(self, name: str, query: str, parameters: list[Any]) -> None:
        path = self._folder / name
        target = str(path).replace("'", "''")
        with duckdb.connect() as database:
            database.execute("SET threads = 1")
            database.execute(f"COPY ({query}) TO '{target}' {FORMAT}", parameters)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        durable.sync_directory(self._folder)

    def _tidy(self) -> None:
        named = {MANIFEST, *(each[0] for each in self.manifest.files)}
        for path in _strangers(self._folder, named):
            path.unlink()


def _name(number: int) -> str:
    return f"events-{number:09d}.parquet"


def _strangers(folder: Path, named: set[str]) -> Iterable[Path]:
    return [path for path in folder.iterdir() if path.name not in named]


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
