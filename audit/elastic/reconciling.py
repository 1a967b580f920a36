"""One comparison, in a process of its own (`audit.errand`): `python -m audit.elastic.reconciling`.

Lines: `{"read": n}` now and then, `{"row": …}` for each hour and dataset, `{"summary": …}` at the end.

What is missing is sent again by the shipper's own `deliver`: looked up in every backing index first, so that twice is
harmless; a document that the index will not take becomes a dead letter. Only one comparison runs at a time, so that no
two of them send the same document around a rollover.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import elasticsearch
from elastic_transport.client_utils import DEFAULT

from audit import errand
from audit.checkpoint import CheckpointInvalid, read_verifier
from audit.dead_letters import LETTERS, letters
from audit.documents import Document
from audit.elastic import cursor as cursors
from audit.elastic.copy import Copy
from audit.elastic.cursor import CursorInvalid
from audit.elastic.derivation import Period
from audit.elastic.index import Index, IndexFault, IndexUnavailable
from audit.elastic.kept import Judge, judge_of
from audit.elastic.keys import KeyedIndex, access_of
from audit.elastic.reconcile import Asked, Reconciliation
from audit.elastic.setup import Job, cluster_of
from audit.elastic.shipper import Shipper, ShipperPaths
from audit.elastic.shipping import CURSOR
from audit.elastic.survey import Shipped
from audit.rotation import succession

_TOLD_EVERY: Final = 1.0  # seconds between `read` lines
_SENT_WITHIN: Final = 300.0  # seconds for one portion of missing documents


def shipped(folder: Path) -> Shipped:
    """Return how far the shipper is by its own files; raise `CursorInvalid`, OSError."""
    cursor = cursors.load(folder / CURSOR)
    shown = frozenset(f"{name}.open" for name, row in cursor.open_requests.items() if row["shown"])
    return Shipped(cursor.done, shown, frozenset(letter.id for letter in letters(folder)))


def sender(journals: Path, folder: Path, index: Index) -> Callable[[Sequence[Document]], Awaitable[int]]:
    """Return what brings missing documents to the index by the shipper's own way; it raises `IndexUnavailable`."""
    paths = ShipperPaths(folder / CURSOR, folder / LETTERS)
    shipper = Shipper(journals, paths, index, time.time)

    async def send(documents: Sequence[Document]) -> int:
        counts = shipper.counts
        before = counts.created + counts.already
        try:
            async with asyncio.timeout(_SENT_WITHIN):
                await shipper.deliver(documents)
        except TimeoutError:
            raise IndexUnavailable(IndexFault.UNCERTAIN, f"not taken: {counts.last_fault}") from None
        return counts.created + counts.already - before

    return send


def _judge(job: Job) -> Judge:
    log = Path(job["log"])
    return judge_of(log, succession(log, read_verifier(Path(job["public_key"]).read_text(encoding="ascii"))).past)


async def reconcile(job: Job, tell: Callable[[dict[str, Any]], None]) -> None:
    """Carry out a job; raise `IndexUnavailable`, `CursorInvalid`, CheckpointInvalid, OSError, ValueError."""
    folder, journals, cluster = Path(job["folder"]), Path(job["journals"]), cluster_of(job)
    access = access_of(cluster)
    judge = await asyncio.to_thread(_judge, job)
    ca = DEFAULT if access.ca is None else str(access.ca)
    index = KeyedIndex(cluster)
    told = [time.monotonic()]

    def heard(count: int) -> None:
        if time.monotonic() - told[0] >= _TOLD_EVERY:
            told[0] = time.monotonic()
            tell({"read": count})

    asked = Asked(
        journals=journals, period=Period(job["since"], job["until"]), shipped=shipped(folder),
        judge=judge,
        send=sender(journals, folder, index) if job["repair"] else None, heard=heard,
    )  # fmt: skip
    client = elasticsearch.AsyncElasticsearch(
        access.url, api_key=access.read_key, ca_certs=ca, request_timeout=60, max_retries=0, http_compress=True,
        serializers={"application/json": elasticsearch.OrjsonSerializer()},
    )  # fmt: skip
    try:
        report = await Reconciliation(asked, Copy(client, access.namespace)).run()
    finally:
        await client.close()
        await index.close()
    for row in report.listed():
        tell({"row": row})
    tell({"summary": report.summary()})


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the shipper's folder for comparisons; raise OSError where another one runs."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another comparison is running") from None
        yield
    finally:
        os.close(descriptor)


def carry_out(job: Job) -> None:
    """Carry out a job; raises like `reconcile`, and OSError where another comparison is running."""
    with alone(Path(job["folder"])):
        asyncio.run(reconcile(job, errand.tell))


if __name__ == "__main__":
    sys.exit(errand.run(carry_out, IndexUnavailable, CursorInvalid, CheckpointInvalid, OSError, ValueError))
