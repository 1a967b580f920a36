"""One search in a process of its own: `python -m audit.index.query`, a job on standard input, NDJSON out.

The job (`audit.errand`) has `journals` and `index` (folders; "" = ask the journals alone) and the fields of
`audit.query.Query`; with `by`, a list of fields, the answer is not the events but how many there are of each kind:
`{"values": […], "count": n}`, most first. Where there is no index yet, or it cannot be read, the journals alone answer:
slower, and the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import orjson

from audit.errand import Job, run
from audit.index import reading
from audit.index.files import MANIFEST
from audit.query import Counts, Query, counted, kinds, query_of
from audit.reader import IntegrityError
from audit.search import search


def answers(journals: Path, index: Path | None, query: Query) -> Iterator[dict[str, Any]]:
    """Yield the answers, from the index where it can be read."""
    if index is not None and (index / MANIFEST).exists():
        try:
            yield from reading.search(journals, index, query)
        except (duckdb.Error, IntegrityError, ValueError) as error:
            _say(error)
        else:
            return
    yield from search(journals, query)


def counts(journals: Path, index: Path | None, query: Query, by: Sequence[str]) -> Counts:
    """Return how many events there are of each kind, from the index where it can be read."""
    if index is not None and (index / MANIFEST).exists():
        try:
            return reading.count(journals, index, query, by)
        except (duckdb.Error, IntegrityError, ValueError) as error:
            _say(error)
    return counted(search(journals, replace(query, limit=sys.maxsize)), by)


def _say(error: Exception) -> None:
    sys.stderr.write(f"the index cannot be read, the journals answer: {error}\n")


def carry_out(job: Job) -> None:
    """Answer a job; raises IntegrityError, OSError."""
    places = Path(job["journals"]), Path(job["index"]) if job["index"] else None
    query = query_of(job)
    rows = answers(*places, query) if job.get("by") is None else kinds(counts(*places, query, job["by"]), query.limit)
    for row in rows:
        sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(run(carry_out, IntegrityError, OSError))
