"""Answers a `Query` from the embedded index and the journals' tail: the same answers as `audit.search` gives.

Old events come from Parquet, one file after the other from the near end, until there are enough; what the manifest does
not hold yet is read from the journals, from exactly the place where it ends. Where columns alone decide, the events
themselves are fetched for the answers only.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import duckdb
import orjson

from audit.documents import Document, Folder, OpenRequest, event_of
from audit.elastic.source import reopened
from audit.event import timestamp
from audit.index.choice import choose
from audit.index.files import COLUMNS, Manifest, load
from audit.query import Counts, Query, agrees, counted
from audit.reader import JournalReader
from audit.segment import record_of, writers

_ROWS: Final = 1000  # fetched at once
_TRIES: Final = 5
_Answer = TypeVar("_Answer")


class Found(NamedTuple):
    """One event and its place, in the order of answers: by time, then by writer and number."""

    ts: str
    writer: str
    epoch: int
    seq: int
    event: dict[str, Any]


def search(journals: Path, folder: Path, query: Query) -> Iterator[dict[str, Any]]:
    """Yield at most `query.limit` events, as `audit.search` does; raises OSError, IntegrityError, duckdb.Error."""

    def look(manifest: Manifest) -> list[Found]:
        tail = [found for found in _tail(journals, manifest) if _matches(query, found)]
        merged = sorted([*tail, *_Old(folder, manifest, query).found()], key=_newest_first)
        if not query.newest_first:
            merged.reverse()
        return merged[: query.limit]

    yield from (found.event for found in _looked(folder, look))


def count(journals: Path, folder: Path, query: Query, by: Sequence[str]) -> Counts:
    """Count all events that `query` asks for, whatever its limit, by these fields; raises as `search` does."""

    def look(manifest: Manifest) -> Counts:
        counts = counted((found.event for found in _tail(journals, manifest) if _matches(query, found)), by)
        counts.update(_Old(folder, manifest, query).counts(by))
        return counts

    return _looked(folder, look)


def _looked(folder: Path, look: Callable[[Manifest], _Answer]) -> _Answer:
    """Look with the manifest of now, again where files were joined meanwhile and the new manifest names others."""
    for _ in range(_TRIES):
        manifest = load(folder)
        try:
            return look(manifest)
        except duckdb.IOException:
            if load(folder) == manifest:
                raise
    raise duckdb.IOException(f"{folder}: the files changed {_TRIES} times while they were read")


class _Old:
    """What the files of one manifest hold for a query."""

    def __init__(self, folder: Path, manifest: Manifest, query: Query) -> None:
        since = timestamp(query.since) if query.since is not None else ""
        until = timestamp(query.until) if query.until is not None else "~"
        self._files = [
            (first, last, str(folder / name)) for name, first, last in manifest.files if last >= since and first < until
        ]
        self._query = query
        self._choice = choose(query)

    def found(self) -> list[Found]:
        """Return candidates among which the first `query.limit` answers are, in no order."""
        query, nearest = self._query, []
        newest = query.newest_first
        files = sorted(self._files, key=itemgetter(1) if newest else itemgetter(0), reverse=newest)
        take = self._fetch if self._choice.exact and query.limit <= _ROWS else self._stream
        found: list[Found] = []
        with _database() as database:
            for at, (_, _, file) in enumerate(files):
                found += take(database, file)
                if len(found) < query.limit or at + 1 == len(files):
                    continue
                nearest = (heapq.nlargest if newest else heapq.nsmallest)(query.limit, (each.ts for each in found))
                beyond = files[at + 1][1] if newest else files[at + 1][0]
                if (nearest[-1] > beyond) if newest else (nearest[-1] < beyond):
                    break
        return found

    def counts(self, by: Sequence[str]) -> Counts:
        """Count the events by these fields."""
        files = [file for _, _, file in self._files]
        with _database() as database:
            if files and self._choice.exact and all(name in COLUMNS for name in by):
                return self._grouped(database, files, by)
            found = (each for file in files for each in self._stream(database, file, limited=False))
            return counted((each.event for each in found), by)

    def _grouped(self, database: duckdb.DuckDBPyConnection, files: Sequence[str], by: Sequence[str]) -> Counts:
        names = ", ".join(f"coalesce(\"{COLUMNS[name]}\", '')" for name in by)
        rows = database.execute(
            f"SELECT count(*), [{names}] AS of FROM read_parquet(?) WHERE {self._choice.condition} GROUP BY of",  # noqa: S608 (our names)
            [files, *self._choice.parameters],
        ).fetchall()
        return Counts({tuple(values): number for number, values in rows})

    @property
    def _order(self) -> str:
        return "ts DESC, writer, epoch DESC, seq DESC" if self._query.newest_first else "ts, writer DESC, epoch, seq"

    def _fetch(self, database: duckdb.DuckDBPyConnection, file: str) -> list[Found]:
        """Let columns choose the places first, and read only those events."""
        places = database.execute(
            "SELECT file_row_number FROM read_parquet(?, file_row_number = true) "  # noqa: S608 (our names)
            f"WHERE {self._choice.condition} ORDER BY {self._order} LIMIT {self._query.limit}",
            [file, *self._choice.parameters],
        ).fetchall()
        if not places:
            return []
        rows = database.execute(
            "SELECT ts, writer, epoch, seq, event FROM read_parquet(?, file_row_number = true) "
            "WHERE file_row_number IN (SELECT unnest(?))",
            [file, [place for (place,) in places]],
        ).fetchall()
        return [_read(row) for row in rows]

    def _stream(self, database: duckdb.DuckDBPyConnection, file: str, *, limited: bool = True) -> Iterator[Found]:
        """Read events that may be answers and compare each, until there are enough of this file."""
        answer = database.execute(
            "SELECT ts, writer, epoch, seq, event FROM read_parquet(?) "  # noqa: S608 (our names)
            f"WHERE {self._choice.condition}" + (f" ORDER BY {self._order}" if limited else ""),
            [file, *self._choice.parameters],
        )
        made = 0
        while (not limited or made < self._query.limit) and (rows := answer.fetchmany(_ROWS)):
            for row in rows:
                found = _read(row)
                if _matches(self._query, found):
                    made += 1
                    yield found


def _read(row: tuple[Any, ...]) -> Found:
    ts, writer, epoch, seq, event = row
    return Found(ts, writer, epoch, seq, orjson.loads(event))


def _database() -> duckdb.DuckDBPyConnection:
    database = duckdb.connect()
    database.execute("SET threads = 1")
    return database


def _newest_first(found: Found) -> tuple[bytes, str, int, int]:
    inverted = bytes(255 - byte for byte in found.ts.encode())
    return inverted, found.writer, -found.epoch, -found.seq


def _tail(journals: Path, manifest: Manifest) -> list[Found]:
    """Return what the journals hold beyond the manifest, with the requests that are still open as they stand."""
    folder = Folder.restore(reopened(journals, manifest.open_requests))
    documents: list[Document] = []
    for name in writers(journals):
        reader = JournalReader(journals, name, manifest.links.get(name))
        while records := reader.read():
            for record in records:
                documents += folder.take(record_of(record.line), 0.0)
    return [_found(document) for document in documents] + [_open(waiting) for waiting in folder.open_requests()]


def _found(document: Document) -> Found:
    writer, epoch, seq, event = event_of(document)
    return Found(str(event["@timestamp"]), writer, epoch, seq, event)


def _open(waiting: OpenRequest) -> Found:
    event = {name: value for name, value in waiting.record.items() if name not in ("v", "prev")}
    writer, epoch, seq = str(event.pop("writer")), int(event.pop("epoch")), int(event.pop("seq"))
    event["event.id"] = f"{writer}:{epoch}:{seq}"
    return Found(str(event["@timestamp"]), writer, epoch, seq, event)


def _matches(query: Query, found: Found) -> bool:
    if query.since is not None and found.ts < timestamp(query.since):
        return False
    if query.until is not None and found.ts >= timestamp(query.until):
        return False
    return agrees(query, found.event)
