"""Answers a `Query` from the embedded index and the journals' tail: the same answers as `audit.search` gives.

Old events come from Parquet, chosen by columns and then compared field by field exactly as the journal search does;
what the manifest does not hold yet is read from the journals, from exactly the place where it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import orjson

from audit.documents import Document, Folder, OpenRequest
from audit.event import timestamp
from audit.index.files import COLUMNS, Manifest, event_of, load
from audit.query import Query, agrees
from audit.reader import JournalReader
from audit.segment import record_of, writers

_ROWS: Final = 1000  # fetched at once
_TRIES: Final = 5


class Found(NamedTuple):
    """One event and its place, in the order of answers: by time, then by writer and number."""

    ts: str
    writer: str
    epoch: int
    seq: int
    event: dict[str, Any]


def search(journals: Path, folder: Path, query: Query) -> Iterator[dict[str, Any]]:
    """Yield at most `query.limit` events, as `audit.search` does; raises OSError, IntegrityError, duckdb.Error."""
    for attempt in range(_TRIES):
        manifest = load(folder)
        tail = [found for found in _tail(journals, manifest) if _matches(query, found)]
        try:
            old = _old(folder, manifest, query)
            merged = sorted([*tail, *old], key=_newest_first)
        except duckdb.IOException:
            if attempt == _TRIES - 1 or load(folder) == manifest:
                raise
            continue  # files were joined meanwhile: the new manifest names others
        if not query.newest_first:
            merged.reverse()
        yield from (found.event for found in merged[: query.limit])
        return


def _newest_first(found: Found) -> tuple[bytes, str, int, int]:
    inverted = bytes(255 - byte for byte in found.ts.encode())
    return inverted, found.writer, -found.epoch, -found.seq


def _old(folder: Path, manifest: Manifest, query: Query) -> list[Found]:
    since = timestamp(query.since) if query.since is not None else ""
    until = timestamp(query.until) if query.until is not None else "~"
    files = [str(folder / name) for name, first, last in manifest.files if last >= since and first < until]
    if not files:
        return []
    conditions, parameters = ["ts >= ?", "ts < ?"], [since, until]
    for field, value in query.filters.items():
        if field in COLUMNS:
            conditions.append(f'"{COLUMNS[field]}" = ?')
            parameters.append(value)
        elif field == "event.id":
            conditions.append("(concat(writer, ':', epoch, ':', seq) = ? OR request_id = ?)")
            parameters += [value, value]
    chosen, order = " AND ".join(conditions), "DESC" if query.newest_first else "ASC"
    statement = f"SELECT ts, writer, epoch, seq, event FROM read_parquet(?) WHERE {chosen} ORDER BY ts {order}"  # noqa: S608
    found: list[Found] = []
    with duckdb.connect() as database:
        database.execute("SET threads = 1")
        answer = database.execute(statement, [files, *parameters])
        while rows := answer.fetchmany(_ROWS):
            made = (Found(row[0], row[1], row[2], row[3], orjson.loads(row[4])) for row in rows)
            found += (each for each in made if _matches(query, each))
            if len(found) > query.limit and found[-1].ts != found[query.limit - 1].ts:
                break
    return found


def _tail(journals: Path, manifest: Manifest) -> list[Found]:
    """Return what the journals hold beyond the manifest, with the requests that are still open as they stand."""
    folder = Folder.restore(manifest.open_requests)
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
