"""Builds the embedded index: takes documents from the journals and writes them as Parquet micro-batches.

Order, and why a crash between is harmless: the Parquet file is written and synced, then the manifest names it together
with the new place in the journals. A crash before that leaves a file nobody names, removed at the next start.
DuckDB writes the files through a database in memory, from most rows as lines with tabs and from the others as JSON;
many small files are joined into a larger one (`compact`), and rows of what the journals no longer have are left out of
new ones (`forget`), in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from audit import durable
from audit.completion import DECIDED
from audit.documents import Document
from audit.elastic.cursor import Cursor
from audit.elastic.source import DocumentSource
from audit.index.files import MANIFEST, load, save
from audit.index.gone import Gone, condition, gone
from audit.index.lines import DOCUMENTS, PASSED, SETTINGS, TIME
from audit.index.rows import Half, Passed, ended, joined, row_of
from audit.reader import IntegrityError
from audit.scan import COMPLETED, request_of
from audit.segment import Link, event_at, record_of
from audit.stored import Piece, Recent

BATCH: Final = 20_000  # documents of one file at most
JOINED: Final = 16  # small files of about the same size that become one
LARGE: Final = 64 * 1024 * 1024  # bytes from which a file is left alone
_SMALL_BITS, _STEP_BITS = 18, 4  # sizes that are about the same: below 256 KiB, then each sixteen times that
_CHUNK: Final = 1 << 20
_GROUP: Final = 16_384  # rows
FORMAT: Final = (
    f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {_GROUP}, DICTIONARY_SIZE_LIMIT {_GROUP}, "
    "STRING_DICTIONARY_PAGE_SIZE_LIMIT 4194304)"
)
"""A group's keywords are one dictionary however many they are: then it has a Bloom filter, and who asks for one path or
one request reads none of the groups without it."""


class IndexWriter:
    """The one writer of an index folder."""

    def __init__(self, journals: Path, folder: Path, recent: Recent | None = None) -> None:
        """Load the manifest and remove what it does not name; raises OSError, ValueError.

        What `recent` has is not read again from the journals.
        """
        durable.make_directory(folder)
        self._journals = journals
        self._folder = folder
        self.manifest = load(folder)
        cursor = Cursor(self.manifest.links, self.manifest.open_requests)
        self._source = DocumentSource(journals, cursor, recent)
        self._passed = Passed()
        self._halves: dict[bytes, Half] = {}  # by request, decisions that wait here and not in the source's folder
        self._rows: list[bytes] = []
        self._shared: dict[bytes, bytes] = {}  # by number, the lines of what these rows have in common
        self._documents: list[Document] = []
        self._database = duckdb.connect()  # kept: making one takes as long as writing thousands of rows
        for setting in SETTINGS:
            self._database.execute(setting)
        self._tidy()

    @property
    def refused(self) -> dict[str, IntegrityError]:
        """Writers whose journal does not continue its chain, read no further."""
        return self._source.refused

    @property
    def waiting(self) -> int:
        """Documents taken in that no file holds yet."""
        return len(self._rows) + len(self._documents)

    @property
    def links(self) -> Mapping[str, Link]:
        """How far each writer's journal was taken in; may be asked from any thread."""
        return self._source.links

    @property
    def behind(self) -> bool:
        """Whether the journals held more at the last look than it was to take in."""
        return self._source.more

    def poll(self, now: float) -> int:
        """Take in what the journals have grown by; return the number of documents."""
        before = self.waiting
        for writer, piece in self._source.pieces(_CHUNK):
            self._take(writer, piece, now)
        return self.waiting - before

    def _take(self, writer: str, piece: Piece, now: float) -> None:
        epoch, base = piece.epoch, event_at(writer, piece.epoch)
        halves, folder = self._halves, self._source.folder
        for seq, line in enumerate(piece.lines, piece.seq):
            begin = base + len(str(seq))
            if line.startswith(COMPLETED, begin):
                end = ended(line, begin)
                half = halves.pop(request_of(line) if end is None else end[2], None)
                row = None if half is None or end is None else joined(half, end)
                if row is not None and half is not None:
                    self._rows.append(row)
                    self._shared[half.shared.number] = half.shared.line
                    continue
                if half is not None:
                    folder.take(record_of(half.line), half.since)
            elif line.startswith(DECIDED, begin):
                half = self._passed.decided(line, begin, (writer, epoch, seq), now)
                if half is not None:
                    halves[half.request] = half
                    continue
            self._documents += folder.take(record_of(line), now)

    def _open_requests(self) -> dict[str, Any]:
        return self._source.open_requests() | {
            half.request.decode(): {"at": [half.writer, half.epoch, half.seq], "since": half.since, "shown": False}
            for half in self._halves.values()
        }

    def flush(self) -> None:
        """Write what waits into a file and make it count; raises OSError, duckdb.Error."""
        after = replace(self.manifest, links=dict(self._source.links), open_requests=self._open_requests())
        if self.waiting:
            name = _name(after.made + 1)
            first, last = self._write(name)
            after = replace(after, files=(*after.files, (name, first, last)), made=after.made + 1)
        save(self._folder, after)
        self.manifest = after
        self._rows, self._shared, self._documents = [], {}, []

    def compact(self) -> bool:
        """Join files of about the same size into one if there are enough; return whether that was done.

        So a row is written again a few times at most, and not with each few rows that come after it.
        """
        alike: dict[int, list[tuple[str, str, str]]] = {}
        for each in self.manifest.files:
            size = (self._folder / each[0]).stat().st_size
            if size < LARGE:
                alike.setdefault(-(-max(0, size.bit_length() - _SMALL_BITS) // _STEP_BITS), []).append(each)
        small = next((alike[step] for step in sorted(alike) if len(alike[step]) >= JOINED), None)
        if small is None:
            return False
        name = _name(self.manifest.made + 1)
        small.sort(key=itemgetter(1))
        self._copy(name, "SELECT * FROM read_parquet(?)", [[str(self._folder / each[0]) for each in small]])
        whole = (name, small[0][1], max(each[2] for each in small))
        kept = tuple(each for each in self.manifest.files if each not in small)
        self._swap((*kept, whole), self.manifest.made + 1, self.manifest.gone)
        return True

    def forget(self) -> bool:
        """Drop the rows of what the journals no longer have; return whether there was anything new of it."""
        lost = gone(self._journals)
        if lost == self.manifest.gone:
            return False
        chosen, parameters = condition(lost)
        left: list[tuple[str, str, str]] = []
        made = self.manifest.made
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
        answer = self._database.execute(
            f"SELECT count(*), count(*) FILTER (WHERE {chosen}) FROM read_parquet(?)",  # noqa: S608 (our names)
            [*parameters, str(self._folder / name)],
        )
        ((rows, going),) = answer.fetchall()
        return rows - going if going else None

    def _swap(self, files: tuple[tuple[str, str, str], ...], made: int, lost: Gone) -> None:
        """Have other files count. What waits is not in any of them: the manifest's place must stay before it."""
        after = replace(self.manifest, files=files, made=made, gone=lost)
        save(self._folder, after)
        self.manifest = after
        self._tidy()

    def _write(self, name: str) -> tuple[str, str]:
        """Write what waits as a file, the two kinds each by time; returns the first and the last time."""
        files: list[tuple[Path, bytes]] = []
        queries: list[str] = []
        times: list[str] = []
        if self._rows:
            self._rows.sort(key=itemgetter(slice(TIME)))
            times += (self._rows[0][:TIME].decode(), self._rows[-1][:TIME].decode())
            files.append((self._folder / "batch.tsv", b"".join(self._rows)))
            files.append((self._folder / "shared.tsv", b"".join(self._shared.values())))
            queries.append(PASSED)
        if self._documents:
            rows = sorted((row_of(document) for document in self._documents), key=lambda row: str(row["ts"]))
            times += (str(rows[0]["ts"]), str(rows[-1]["ts"]))
            data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
            files.append((self._folder / "batch.ndjson", data))
            queries.append(DOCUMENTS)
        for path, data in files:
            path.write_bytes(data)
        self._copy(name, " UNION ALL ".join(queries), [str(path) for path, _ in files])
        for path, _ in files:
            path.unlink()
        return min(times), max(times)

    def _copy(self, name: str, query: str, parameters: list[Any]) -> None:
        path = self._folder / name
        target = str(path).replace("'", "''")
        self._database.execute(f"COPY ({query}) TO '{target}' {FORMAT}", parameters)
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
