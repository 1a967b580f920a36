"""One search in a process of its own: `python -m audit.index.query`, a job on standard input, NDJSON out.

The job is one line of JSON: `journals`, `index` (folders) and the fields of `audit.query.Query`; with `by`, a list of
fields, the answer is not the events but how many there are of each kind: `{"values": […], "count": n}`, most first.
Where there is no index yet, or it cannot be read, the journals alone answer: slower, and the same. The process ends
when its input closes, so it cannot outlive whoever asked.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import orjson

from audit.index import reading
from audit.index.files import MANIFEST
from audit.query import Counts, Query, counted, query_of
from audit.reader import IntegrityError
from audit.search import search
from audit.weight import lighten


def answers(journals: Path, index: Path, query: Query) -> Iterator[dict[str, Any]]:
    """Yield the answers, from the index where it can be read."""
    if (index / MANIFEST).exists():
        try:
            yield from reading.search(journals, index, query)
        except (duckdb.Error, IntegrityError, ValueError) as error:
            _say(error)
        else:
            return
    yield from search(journals, query)


def counts(journals: Path, index: Path, query: Query, by: Sequence[str]) -> Counts:
    """Return how many events there are of each kind, from the index where it can be read."""
    if (index / MANIFEST).exists():
        try:
            return reading.count(journals, index, query, by)
        except (duckdb.Error, IntegrityError, ValueError) as error:
            _say(error)
    return counted(search(journals, replace(query, limit=sys.maxsize)), by)


def _say(error: Exception) -> None:
    sys.stderr.write(f"the index cannot be read, the journals answer: {error}\n")


def _rows(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    places, query = (Path(job["journals"]), Path(job["index"])), query_of(job)
    if job.get("by") is None:
        yield from answers(*places, query)
        return
    most_first = sorted(counts(*places, query, job["by"]).items(), key=lambda item: (-item[1], item[0]))
    yield from ({"values": values, "count": count} for values, count in most_first[: query.limit])


def main() -> int:
    """Carry out the job; returns the exit code. What went wrong is the last line of standard error."""
    lighten()
    job: dict[str, Any] = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        for row in _rows(job):
            sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
        sys.stdout.buffer.flush()
    except (IntegrityError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _end_with_input() -> None:
    """Exit as soon as whoever asked is gone. Reads below `sys.stdin`, whose lock the interpreter needs to end."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
