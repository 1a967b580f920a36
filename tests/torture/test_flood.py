"""A flood of refused strangers: ten million on what bounds it, and as many as asked for on a whole gateway.

`FLOOD_REQUESTS` (20,000) is how many requests the gateway gets over real connections; what bounds them, the coalescer,
the bounded journal and the index, gets ten million straight away.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.anonymous import BoundedJournal, Coalescer
from audit.event import Action, event
from audit.index.writer import IndexWriter
from audit.reader import JournalReader
from audit.segment import record_of
from audit.verify import verify_journals
from tests.support.running_city import HOST, RunningCity, running_city

WRITER = "worker-0.anonymous"
REQUESTS = 10_000_000
MINUTES = 10
TOTAL_BYTES = 32 * 2**20
SEGMENT_BYTES = 4 * 2**20
BUDGET = 60
STEP = 20_000  # requests between two looks at the disk
INDEX_A_MINUTE = 4 * 2**20  # bytes of index that a minute of the worst flood may add
OVER_THE_WIRE = int(os.environ.get("FLOOD_REQUESTS", "20000"))
SOURCES = 8  # local addresses that the flood comes from
STAFF = 150  # requests of staff before, and at least while it lasts


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    found = 0
    for path in folder.rglob("*"):
        try:
            found += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # deleted on record, or sealed, meanwhile
    return found


class Flood:
    """The parts that bound strangers, and a reader that counts what they wrote before any of it is deleted."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "journal"
        self.journal = BoundedJournal(
            self.folder, WRITER, total_bytes=TOTAL_BYTES, segment_bytes=SEGMENT_BYTES, segment_age=3600, stall_limit=30
        )
        self.coalescer = Coalescer(self.journal, BUDGET)
        self.index = IndexWriter(self.folder, root / "index")
        self.index_folder = root / "index"
        self.counts: Counter[str] = Counter()
        self.largest = 0
        self._reader = JournalReader(self.folder, WRITER)

    async def run(self, addresses: int) -> None:
        """Send them all, over ten minutes of the records' own clock."""
        self.journal.open(asyncio.get_running_loop())
        names = [f"10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}" for at in range(addresses)]
        fields = {"sekisho.reason": "sign_in_required", "event.outcome": "failure", "url.path": "/", "source.ip": ""}
        sent = 0
        while sent < REQUESTS:
            wall = 1_700_000_000.0 + MINUTES * 60 * sent / REQUESTS
            record = event(Action.REQUEST_DECIDED, wall, fields)
            for at in range(sent, sent + STEP):
                address = names[at % addresses]
                self.coalescer.append({**record, "source.ip": address}, address, "sign_in_required", wall, None)
            sent += STEP
            await self.journal.record(event(Action.TLS_FAILED, wall))  # wait until all of it is on disk
            self._look(wall)
        self.coalescer.flush(1_700_000_000.0 + MINUTES * 60)
        await self.journal.record(event(Action.TLS_FAILED, 0.0))
        self._look(1_700_000_000.0 + MINUTES * 60 + 60)
        self.index.flush()
        self.journal.close(30)

    def _look(self, now: float) -> None:
        self.largest = max(self.largest, size_of(self.folder))
        while records := self._reader.read():
            for each in records:
                body = record_of(each.line)
                self.counts[body["event.action"]] += int(body.get("sekisho.count", 1))
        while self.index.poll(now):
            if self.index.waiting > STEP:
                self.index.flush()
        self.index.compact()


@pytest.mark.timeout(3600)
@pytest.mark.promise("P2.flood-is-bounded-and-counted")
@pytest.mark.parametrize("addresses", [1, 100_000])
def test_ten_million_refusals_are_bounded_and_counted(
    tmp_path: Path, figure: Callable[[str], None], addresses: int
) -> None:
    flood = Flood(tmp_path)
    begun = time.process_time()
    asyncio.run(flood.run(addresses))
    cpu = time.process_time() - begun
    full, counted = flood.counts["request.decided"], flood.counts["request.coalesced"]
    index = size_of(flood.index_folder)
    figure(
        f"{REQUESTS:,} refusals of {addresses:,} addresses in {MINUTES} minutes: "
        f"{full:,} in full, {counted:,} counted; "
        f"journal at most {flood.largest / 2**20:.1f} MiB, index {index / 2**20:.1f} MiB, "
        f"{cpu / REQUESTS * 1e6:.2f} us of CPU a refusal with index and reader"
    )
    assert full + counted == REQUESTS
    assert flood.largest <= TOTAL_BYTES + 3 * SEGMENT_BYTES
    assert index <= MINUTES * INDEX_A_MINUTE
    verify_journals(flood.folder)


async def staff_asks(city: RunningCity, until: Callable[[int], bool]) -> list[float]:
    """Have one of the staff ask again and again; return how long each answer took (seconds). All must be served."""
    took: list[float] = []
    async with city.client() as client:
        while not until(len(took)):
            begun = time.perf_counter()
            async with client.get("/staff") as answer:
                await answer.read()
                assert answer.status == 200
            took.append(time.perf_counter() - begun)
            await asyncio.sleep(0.01)
    return took


async def stranger(city: RunningCity, source: int, count: int) -> int:
    """Ask `count` times without a session from one local address; return how many answers came."""
    host, port = city.status["listeners"]["loopback"].rsplit(":", 1)
    request = f"GET /flood HTTP/1.1\r\nHost: {HOST}\r\nAccept: application/json\r\n\r\n".encode()
    answered = 0
    while answered < count:
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(f"127.0.0.{source + 2}", 0))
        for _ in range(min(1000, count - answered)):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.1 401", b"HTTP/1.1 429")), head[:40]
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            answered += 1
        writer.close()
    return answered


def strangers_recorded(city: RunningCity) -> int:
    """How many requests the records of strangers tell of, in full or by count."""
    found = city.records("worker-0.anonymous")
    mine = [each for each in found if each["event.action"] in {"request.decided", "request.coalesced"}]
    return sum(int(each.get("sekisho.count", 1)) for each in mine)


@pytest.mark.timeout(3600)
@pytest.mark.one_stack
@pytest.mark.promise("P2.flood-leaves-staff-alone")
def test_staff_are_served_while_strangers_flood_the_gateway(tmp_path: Path, figure: Callable[[str], None]) -> None:
    async def run() -> None:
        settings = {"SEKISHO_WORKERS__COUNT": "1", "SEKISHO_JOURNAL__ANONYMOUS_BUDGET_PER_MINUTE": "20"}
        async with running_city(tmp_path, **settings) as city:
            await city.furnish()
            calm = await staff_asks(city, lambda count: count >= STAFF)
            flood = asyncio.gather(*(stranger(city, at, OVER_THE_WIRE // SOURCES) for at in range(SOURCES)))
            busy = await staff_asks(city, lambda count: flood.done() and count >= STAFF)
            sent = sum(await flood)
            largest = size_of(city.root / "journal" / WRITER)
        before, during = statistics.median(calm), statistics.median(busy)
        figure(
            f"{sent:,} refused requests of {SOURCES} addresses over the wire, {len(busy)} of staff meanwhile, "
            f"all served; their median {during * 1e3:.1f} ms beside {before * 1e3:.1f} ms before; "
            f"strangers' journal {largest / 1024:.0f} KiB"
        )
        # the worker was stopped in order: the counts of the running minute are on record too
        assert strangers_recorded(city) == sent == OVER_THE_WIRE
        assert largest < 2**20
        assert during < max(20 * before, 0.25)

    asyncio.run(run())
