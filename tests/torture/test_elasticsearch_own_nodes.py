"""A server under conditions that need one of its own: hardly any queue, a full disk, small requests only, an hour away.

Nothing lost, nothing twice, by the checker that shares no code with what ships. `SEKISHO_TORTURE_HOUR` is the number
of records of the accelerated hour, otherwise 100 a second.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import elasticsearch
import pytest

from audit.elastic import delivery
from audit.elastic.bootstrap import make_keys, put_templates
from audit.elastic.client import ElasticAccess, ElasticIndex
from audit.elastic.shipper import Shipper, ShipperPaths
from cli.tour.elasticsearch import Node, build
from tests.support.busy_journal import BusyWorker
from tests.support.copy_checker import ask, compare, expected
from tests.support.real_parts import program
from tests.support.shipping_auditor import ShippingAuditor

HOUR = int(os.environ.get("SEKISHO_TORTURE_HOUR", "360000"))
pytestmark = [pytest.mark.timeout(3600), pytest.mark.one_stack]


@contextmanager
def running(folder: Path, *settings: str) -> Iterator[Node]:
    """A server with settings of its own."""
    for name in ("java", "mvn", "unzip"):
        program(name)
    build(print)
    node = Node(folder / "node")
    node.folder.mkdir()
    node.start(*settings)
    try:
        node.await_ready()
        yield node
    finally:
        node.kill()


async def access(node: Node, namespace: str) -> ElasticAccess:
    async with elasticsearch.AsyncElasticsearch(
        node.url, basic_auth=("admin", node.password), request_timeout=60
    ) as client:
        await put_templates(client)
        keys = await make_keys(client, namespace)
    return ElasticAccess(node.url, None, keys.write, keys.read, namespace)


def journal(tmp_path: Path, records: int) -> BusyWorker:
    writer = BusyWorker(tmp_path / "journal", "worker-0")
    writer.write(records, time.time())
    writer.finish(time.time())
    return writer


def shipper_of(tmp_path: Path, index: ElasticIndex) -> Shipper:
    paths = ShipperPaths(tmp_path / "cursor.json", tmp_path / "dead.ndjson")
    return Shipper(tmp_path / "journal", paths, index, time.time)


async def ship_all(shipper: Shipper) -> None:
    while await shipper.step():
        pass


def complete(node: Node, tmp_path: Path, namespace: str) -> None:
    """Everything once, nothing aside."""
    assert str(compare(node, namespace, expected(tmp_path / "journal"))) == ""
    assert not (tmp_path / "dead.ndjson").exists()


def test_hardly_any_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]) -> None:
    """Three others fill the queue; the shipper is put off, slows down, and loses nothing."""
    monkeypatch.setattr(delivery, "BATCH_DOCUMENTS", 200)
    journal(tmp_path, 20_000)

    async def others(node: Node, stop: asyncio.Event) -> None:
        lines = [{"create": {}}, {"@timestamp": "2026-01-01T00:00:00Z", "message": "x" * 500}] * 300
        async with elasticsearch.AsyncElasticsearch(
            node.url, basic_auth=("admin", node.password), request_timeout=60, max_retries=0
        ) as client:
            while not stop.is_set():
                try:
                    await client.bulk(operations=lines, index="noise")
                except elasticsearch.ApiError:
                    await asyncio.sleep(0.01)

    async def main(node: Node) -> None:
        stop = asyncio.Event()
        noise = [asyncio.create_task(others(node, stop)) for _ in range(6)]
        async with ElasticIndex(await access(node, "queue")) as index:
            shipper = shipper_of(tmp_path, index)
            sending = asyncio.create_task(ship_all(shipper))
            async with asyncio.timeout(300):
                while shipper.counts.faults < 5 and not sending.done():  # noqa: ASYNC110 (a count tells)
                    await asyncio.sleep(0.05)
            stop.set()
            await asyncio.wait_for(sending, 600)
            await asyncio.gather(*noise)
            assert shipper.counts.faults > 0
            assert "429" in shipper.counts.last_fault or "rejected" in shipper.counts.last_fault
            figure(f"a queue of one: put off {shipper.counts.faults} times, {shipper.counts.put_off} documents")

    with running(tmp_path, "thread_pool.write.queue_size=1") as node:
        asyncio.run(main(node))
        complete(node, tmp_path, "queue")


def test_a_disk_at_its_flood_stage(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """The server blocks its indices, for as long as its disk is full."""
    mark = "cluster.routing.allocation.disk"
    full = {
        f"{mark}.threshold_enabled": True, f"{mark}.watermark.low": "1%", f"{mark}.watermark.high": "1%",
        f"{mark}.watermark.flood_stage": "1%", "cluster.info.update.interval": "10s",
    }  # fmt: skip
    writer = BusyWorker(tmp_path / "journal", "worker-0")
    writer.write(200, time.time())

    async def main(node: Node) -> None:
        async with ElasticIndex(await access(node, "flood")) as index:
            shipper = shipper_of(tmp_path, index)
            await ship_all(shipper)
            await asyncio.to_thread(ask, node, "PUT", "/_cluster/settings", {"persistent": full})
            begun = time.monotonic()
            async with asyncio.timeout(180):
                while not shipper.counts.put_off:
                    sending = asyncio.create_task(ship_all(shipper))
                    await asyncio.wait([sending], timeout=2.0)
                    if not sending.done():
                        break
                    writer.write(50, time.time())
            blocked = time.monotonic() - begun
            assert not sending.done(), "the block never came"
            assert "flood-stage" in shipper.counts.last_fault
            free = {**dict.fromkeys(full), f"{mark}.threshold_enabled": False}
            await asyncio.to_thread(ask, node, "PUT", "/_cluster/settings", {"persistent": free})
            open_again = {"index.blocks.read_only_allow_delete": None}
            await asyncio.to_thread(ask, node, "PUT", "/logs-sekisho.*-flood/_settings", open_again)
            await asyncio.wait_for(sending, 120)
            writer.finish(time.time())
            await ship_all(shipper)
            figure(f"flood stage: blocked after {blocked:.0f} s, {shipper.counts.put_off} documents put off")

    with running(tmp_path) as node:
        asyncio.run(main(node))
        complete(node, tmp_path, "flood")


def test_requests_that_are_too_large(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """A server that takes 200 kB at once says 413 and nothing else: less is sent at once from then on."""
    journal(tmp_path, 5000)

    async def main(node: Node) -> None:
        async with ElasticIndex(await access(node, "small")) as index:
            shipper = shipper_of(tmp_path, index)
            await ship_all(shipper)
            assert shipper.counts.faults > 0
            assert shipper.pace()["batch_bytes"] < 300_000
            figure(f"413: {shipper.counts.faults} times, then {shipper.pace()['batch_bytes']} bytes at once")

    with running(tmp_path, "http.max_content_length=200kb") as node:
        asyncio.run(main(node))
        complete(node, tmp_path, "small")


@pytest.mark.promise("P6.an-hour-away")
def test_an_hour_away(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """The server is gone while an hour's records are written; what waits for it is the journals, nothing else grows."""
    with running(tmp_path) as node:
        auditor = ShippingAuditor(tmp_path / "auditor", node, "hour")
        writer = BusyWorker(auditor.journals, "worker-0")
        writer.write(1000, time.time())
        auditor.start()
        try:
            await_that(lambda: auditor.stored("worker-0") >= 900, 120, auditor)
            node.kill()
            for _ in range(60):
                writer.write(HOUR // 60, time.time())
                time.sleep(0.2)
            writer.finish(time.time())
            await_that(lambda: auditor.status()["lag_records"] >= HOUR // 2, 600, auditor)
            waiting = sum(path.stat().st_size for path in (auditor.state / "elastic").iterdir())
            assert waiting < 1_000_000, "the journals are the queue"
            node.start()
            node.await_ready()
            begun = time.monotonic()
            await_that(lambda: auditor.stored("worker-0") >= writer.records, 1800, auditor)
            seconds = time.monotonic() - begun
            await_that(lambda: not auditor.status()["checkpoints_waiting"], 120, auditor)
            await_that(lambda: auditor.status()["lag_records"] == 0, 120, auditor)
            figure(f"{HOUR} records while away: stored {seconds:.0f} s after the return; {waiting} bytes waited beside")
        finally:
            auditor.kill(signal.SIGKILL)
        difference = compare(node, "hour", expected(auditor.journals))
        assert str(difference) == ""


def await_that(holds: Callable[[], bool], seconds: float, auditor: ShippingAuditor) -> None:
    """Wait for what another process's files tell."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, auditor.status()
        time.sleep(0.3)
