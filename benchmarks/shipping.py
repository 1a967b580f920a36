"""How fast records reach a real Elasticsearch, and how far the copy lags behind (promise P6).

`python -m benchmarks.shipping [ROUNDS]` prints one JSON object. Rate: the shipper, from journal lines to stored
documents, beside the official client's `async_streaming_bulk` with the same documents ready in memory; in turns on one
server, each round in fresh data streams, wall time, as a ratio within the round. Lag: the real auditor with everything
it does, while a writer appends 1,000 records a second; from the moment a record is written until the shipper's cursor
says that it is stored. Burst: what a minute at full load leaves behind, on a scale of one to ten, on top of the 1,000.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import elasticsearch
from elasticsearch.helpers import async_streaming_bulk

from audit.documents import Document, documents
from audit.elastic.bootstrap import make_keys, put_templates
from audit.elastic.client import ElasticAccess, ElasticIndex
from audit.elastic.shipper import Shipper, ShipperPaths
from audit.elastic.template import stream
from audit.reader import JournalReader
from audit.segment import record_of
from benchmarks import progress
from benchmarks.measure import Spread, cpu_seconds
from cli.tour.elasticsearch import Node, build
from tests.support.busy_journal import BusyWorker
from tests.support.shipping_auditor import ShippingAuditor

RECORDS: Final = 40_000  # of one round
PER_SECOND: Final = 1000
STEADY: Final = 15.0  # seconds
BURST: Final = 96_000  # records: six seconds of 8,000 requests
LAG_BOUND: Final = 2.0  # seconds
_GIVE_UP: Final = 120.0
_TURN: Final = 0.05
_WRITER: Final = "worker-0"


@contextmanager
def running_node(folder: Path) -> Iterator[Node]:
    """A node of its own for the measurement."""
    build(lambda line: print(line, file=sys.stderr))
    node = Node(folder / "node")
    node.folder.mkdir()
    node.start()
    try:
        node.await_ready()
        yield node
    finally:
        node.kill()


async def rates(node: Node, folder: Path, count: int) -> dict[str, Any]:
    """Documents a second by the shipper and by the official helper, in turns, after one turn that only warms up."""
    journals = folder / "journal"
    writer = BusyWorker(journals, _WRITER)
    writer.write(RECORDS, time.time())
    writer.finish(time.time())
    reader, records = JournalReader(journals, _WRITER), []
    while lines := reader.read():
        records += [record_of(line.line) for line in lines]
    made = documents(records, time.time())
    found: dict[str, list[float]] = {"shipper": [], "helper": []}
    micros: dict[str, list[float]] = {"shipper": [], "helper": []}
    async with admin(node) as client:
        await put_templates(client)
        for number in progress.rounds("shipping", count + 1):
            for name in random.sample(("shipper", "helper"), 2) if number else ("helper",):
                namespace = f"{name}{number}"
                keys = await make_keys(client, namespace)
                access = ElasticAccess(node.url, None, keys.write, keys.read, namespace)
                begun, cpu = time.perf_counter(), time.process_time()
                if name == "shipper":
                    await by_shipper(journals, folder, access)
                else:
                    await by_helper(made, access)
                if number:
                    found[name].append(len(made) / (time.perf_counter() - begun))
                    micros[name].append((time.process_time() - cpu) / len(made) * 1e6)
                await client.indices.delete_data_stream(name=f"logs-sekisho.*-{namespace}")
    ratios = [ours / theirs for ours, theirs in zip(found["shipper"], found["helper"], strict=True)]
    return {
        "documents": len(made), "ratio": asdict(Spread.of(ratios)),
        "per_second": {name: round(statistics.median(each)) for name, each in found.items()},
        "own_cpu_micros": {name: round(statistics.median(each)) for name, each in micros.items()},
    }  # fmt: skip


def admin(node: Node) -> elasticsearch.AsyncElasticsearch:
    """The cluster's administrator."""
    return elasticsearch.AsyncElasticsearch(node.url, basic_auth=("admin", node.password), request_timeout=60)


async def by_shipper(journals: Path, folder: Path, access: ElasticAccess) -> None:
    """Ship the journals from their start, cursor and all."""
    paths = ShipperPaths(folder / f"{access.namespace}.json", folder / f"{access.namespace}.letters")
    async with ElasticIndex(access) as index:
        shipper = Shipper(journals, paths, index, time.time)
        while await shipper.step():
            pass
        if shipper.counts.faults or shipper.counts.rejected:
            raise RuntimeError(f"not a clean round: {shipper.counts}")


async def by_helper(made: list[Document], access: ElasticAccess) -> None:
    """Send the same documents as the official client offers it, with its own defaults."""

    async def actions() -> AsyncIterator[dict[str, Any]]:
        for each in made:
            place = stream(each.dataset, access.namespace)
            yield {"_op_type": "create", "_index": place, "_id": each.id, "_source": each.body}

    async with elasticsearch.AsyncElasticsearch(access.url, api_key=access.write_key, request_timeout=60) as client:
        async for good, told in async_streaming_bulk(client, actions()):
            if not good:
                raise RuntimeError(f"not a clean round: {told}")


class Load:
    """A writer at `PER_SECOND`, and how far behind it the cursor is."""

    def __init__(self, auditor: ShippingAuditor) -> None:
        self._auditor = auditor
        self.writer = BusyWorker(auditor.journals, _WRITER)
        self._written: deque[tuple[int, float]] = deque()  # record, when it was written
        self._begun = time.monotonic()
        self._owed = 0

    def turn(self) -> list[float]:
        """Write what is due; return the lags, in seconds, of the records that were found stored."""
        now = time.monotonic()
        due = int((now - self._begun) * PER_SECOND) - self._owed
        self._owed += due
        self.add(due)
        stored, lags = self._auditor.stored(_WRITER), []
        while self._written and self._written[0][0] <= stored:
            lags.append(time.monotonic() - self._written.popleft()[1])
        return lags

    def add(self, count: int) -> None:
        """Write records of this moment."""
        self.writer.write(count, time.time())
        self._written.append((self.writer.records, time.monotonic()))


def lag(node: Node, folder: Path) -> dict[str, Any]:
    """The lag at a steady rate, and the time until it is small again after a burst."""
    auditor = ShippingAuditor(folder / "auditor", node, "lag")
    auditor.start()
    try:
        load = Load(auditor)
        steady: list[float] = []
        process = auditor.process
        cpu = cpu_seconds([process.pid]) if process else 0.0
        until = time.monotonic() + STEADY
        while time.monotonic() < until:
            steady += load.turn()
            time.sleep(_TURN)
        progress.step("shipping: steady rate")
        cpu = (cpu_seconds([process.pid]) if process else 0.0) - cpu
        load.add(BURST)
        behind, begun, burst = True, time.monotonic(), load.writer.records
        while behind and time.monotonic() - begun < _GIVE_UP:
            found = load.turn()
            behind = auditor.stored(_WRITER) <= burst or not found or found[-1] >= LAG_BOUND
            time.sleep(_TURN)
        return {
            "p50": round(statistics.median(steady), 3), "p95": round(statistics.quantiles(steady, n=20)[18], 3),
            "samples": len(steady), "auditor_cpu_micros_per_record": round(cpu / STEADY / PER_SECOND * 1e6),
            "burst_records": BURST, "burst_seconds": round(time.monotonic() - begun, 1), "recovered": not behind,
        }  # fmt: skip
    finally:
        auditor.kill()


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_node(folder) as node:
            told = {"rate": asyncio.run(rates(node, folder, count)), "lag": lag(node, folder)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
