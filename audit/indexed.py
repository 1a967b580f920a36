"""Proves the embedded index: its rows are those that the journals call for, no more, no fewer, none changed.

Both sides are read in any order and constant memory into a keyed sum for each hour and writer (`fingerprint`); where
the sums differ, again by the minute, then row by row, so that the first row that differs is named. The index says how
far it has come in each journal (its manifest); behind that place searches read the journals themselves.

What the journals no longer have cannot be compared: such rows are counted, until the index drops them, too. Prove the
journals first (`audit.verify`): this compares with whatever they say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb

from audit.documents import Document, Folder
from audit.elastic.fingerprint import Fingerprint, Tally
from audit.index.files import COLUMNS, FOLDED, MANIFEST, Manifest, load
from audit.index.gone import Gone, gone
from audit.index.rows import row_of
from audit.reader import IntegrityError, JournalReader
from audit.segment import record_of, writers

_ROWS: Final = 1000  # fetched at once
_STEPS: Final = (len("2026-11-22T17"), len("2026-11-22T17:10"))  # of a timestamp that sums are made for
_NAMES: Final = ("ts", "writer", "epoch", "seq", *COLUMNS.values(), FOLDED, "event")

Key = tuple[str, str]
"""The start of a timestamp, and a writer."""


@dataclass(frozen=True, slots=True)
class IndexProof:
    """What was compared: rows, and those that nothing is left to compare with."""

    rows: int = 0
    expired: int = 0


class Row(NamedTuple):
    """One row as both sides have it."""

    ts: str
    writer: str
    epoch: int
    seq: int
    number: int  # its print
    file: str = ""

    @property
    def id(self) -> str:
        """Where its record stands."""
        return f"{self.writer}:{self.epoch}:{self.seq}"


def verify_index(journals: Path, folder: Path) -> IndexProof:
    """Compare the index under `folder` with the journals.

    Raises `IntegrityError` naming the first row that differs, the manifest where that is what lies, or a file that is
    no Parquet any more; ValueError for an index of another version; OSError.
    """
    comparison = _Comparison(journals, folder, load(folder))
    proof = comparison.survey("", _STEPS[0])
    prefix = comparison.first_difference
    for step in _STEPS[1:]:
        if prefix is not None:
            comparison.survey(prefix, step)
            prefix = comparison.first_difference
    if prefix is not None:
        raise comparison.named(prefix)
    return proof


class _Comparison:
    """Both sides, as often as they are asked for."""

    def __init__(self, journals: Path, folder: Path, manifest: Manifest) -> None:
        self._journals, self._folder, self._manifest = journals, folder, manifest
        self._print = Fingerprint()
        self._gone: Gone = {}
        self.first_difference: str | None = None

    def survey(self, prefix: str, length: int) -> IndexProof:
        """Sum up the rows whose time begins with `prefix`, by the first `length` characters of it."""
        expected: defaultdict[Key, Tally] = defaultdict(Tally)
        found: defaultdict[Key, Tally] = defaultdict(Tally)
        gone = 0
        for row in self._called_for(prefix):
            expected[row.ts[:length], row.writer].add(row.number)
        for row in self._stored(prefix):
            if self._is_gone(row):
                gone += 1
            else:
                found[row.ts[:length], row.writer].add(row.number)
        different = {key[0] for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)}
        self.first_difference = min(different, default=None)
        return IndexProof(sum(tally.count for tally in found.values()), gone)

    def named(self, prefix: str) -> IntegrityError:
        """Return the first difference among the rows whose time begins with `prefix`."""
        expected = {row[:4]: row for row in self._called_for(prefix)}
        differing: list[tuple[Row, str, str]] = []
        for row in self._stored(prefix):
            if self._is_gone(row):
                continue
            wanted = expected.pop(row[:4], None)
            if wanted is None:
                differing.append((row, "a row", "none, or one such row: no journal calls for it"))
            elif wanted.number != row.number:
                differing.append((row, "a row with another content", "the content of its record"))
        differing += [(row, "none", "a row") for row in expected.values()]
        if not differing:
            return _fault(MANIFEST, 0, "rows", "changing", "rows that stay while they are read")
        row, got, wanted_text = min(differing)
        return _fault(row.file, row.seq, f"document {row.id}", got, wanted_text)

    def _stored(self, prefix: str) -> Iterator[Row]:
        columns = ", ".join(f'"{name}"' for name in _NAMES)
        for name, first, last in self._manifest.files:
            if not (self._folder / name).is_file():
                raise _fault(name, 0, "file", "none", "a file")
            statement = f"SELECT {columns} FROM read_parquet(?) WHERE starts_with(ts, ?)"  # noqa: S608 (our names)
            try:
                for row in _rows(statement, [str(self._folder / name), prefix]):
                    ts, writer, epoch, seq, *_ = row
                    if not first <= ts <= last:
                        raise _fault(MANIFEST, seq, f"times of {name}", f"{first} to {last}", f"also {ts}")
                    yield Row(ts, writer, epoch, seq, self._number(row), name)
            except duckdb.Error as error:
                raise _fault(name, 0, "file", str(error).splitlines()[0], "rows of the index") from error

    def _called_for(self, prefix: str) -> Iterator[Row]:
        """Yield the rows of the journals up to where the manifest says that the index has come."""
        folder = Folder()
        self._gone = gone(self._journals)
        for name in writers(self._journals):
            for document in self._documents(name, folder):
                row = row_of(document)
                if str(row["ts"]).startswith(prefix) and not self._half(document, name):
                    values = tuple(row[column] for column in _NAMES)
                    yield Row(str(row["ts"]), name, row["epoch"], row["seq"], self._number(values))
        self._compare_open(folder)

    def _compare_open(self, folder: Folder) -> None:
        """The requests that were open there are all that the manifest says are, each at its place."""
        waiting = {
            str(each.record["http.request.id"]): [each.record[name] for name in ("writer", "epoch", "seq")]
            for each in folder.open_requests()
        }
        kept = {request: list(row["at"]) for request, row in self._manifest.open_requests.items()}
        kept = {request: at for request, at in kept.items() if not self._covers(at[0], (at[1], at[2]))}
        for request in sorted(waiting.keys() | kept.keys()):
            got, expected = kept.get(request, "not open"), waiting.get(request, "not open")
            if got != expected:
                raise _fault(MANIFEST, 0, f"open request {request}", str(got), str(expected))

    def _documents(self, name: str, folder: Folder) -> Iterator[Document]:
        link = self._manifest.links.get(name)
        reader = JournalReader(self._journals, name, expired=True)
        while link is not None and (records := reader.read()):
            for record in records:
                if (record.epoch, record.seq) > (link.epoch, link.seq):
                    return
                if record.line:
                    yield from folder.take(record_of(record.line), 0.0)
                if (record.epoch, record.seq) == (link.epoch, link.seq) and record.entry != link.entry:
                    raise _fault(MANIFEST, link.seq, f"place in {name}", link.entry.hex(), record.entry.hex())
        if link is not None and (reader.link.epoch, reader.link.seq) < (link.epoch, link.seq):
            got, expected = f"{link.epoch}:{link.seq}", f"at most {reader.link.epoch}:{reader.link.seq}"
            raise _fault(MANIFEST, link.seq, f"place in {name}", got, expected)

    def _half(self, document: Document, name: str) -> bool:
        """Whether it is a completion without its decision, which may have expired: the index has both as one row."""
        alone = document.body.get("event.action") == "request.completed" and "event.end" not in document.body
        return alone and name in self._gone

    def _is_gone(self, row: Row) -> bool:
        return self._covers(row.writer, (row.epoch, row.seq))

    def _covers(self, writer: str, position: tuple[int, int]) -> bool:
        return any(start <= position < end for start, end in self._gone.get(writer, ()))

    def _number(self, values: tuple[Any, ...]) -> int:
        shown = [None if value is None else str(value) for value in values]
        return self._print.of("", "", {"row": shown})


def _rows(statement: str, parameters: list[Any]) -> Iterator[tuple[Any, ...]]:
    with duckdb.connect() as database:
        database.execute("SET threads = 1")
        answer = database.execute(statement, parameters)
        while rows := answer.fetchmany(_ROWS):
            yield from rows


def _fault(file: str, seq: int, what: str, got: str, expected: str) -> IntegrityError:
    return IntegrityError("index", file, 0, seq, what, got, expected)
