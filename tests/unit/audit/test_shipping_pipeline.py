"""Several portions and batches under way at once: the cursor passes nothing that is not stored or set aside."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from audit.documents import OPEN_AFTER, Document
from audit.elastic import cursor as cursors
from audit.elastic import delivery, shipper
from audit.elastic.cursor import Cursor
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.pace import CEILING, FLOOR, LANES, SLOW, START, TARGET, Pace
from audit.elastic.shipper import Shipper, ShipperPaths
from audit.elastic.shipping import Shipping
from audit.elastic.source import DocumentSource
from audit.event import Action, event
from audit.segment import encode, head
from tests.support.busy_journal import BusyWorker
from tests.support.small_journal import until
from tests.unit.audit.test_shipper import NOW, Stage, write_journal


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BACKOFF_FLOOR", 0.0)
    monkeypatch.setattr(delivery, "SETTLE", 0.0)
    monkeypatch.setattr(shipper, "PORTION", 1)  # with the least that is read of one journal, 64 KiB
    monkeypatch.setattr(delivery, "BATCH_DOCUMENTS", 10)


def make(tmp_path: Path, stage: Stage, clock: Callable[[], float] = lambda: NOW) -> Shipper:
    paths = ShipperPaths(tmp_path / "cursor.json", tmp_path / "dead.ndjson")
    return Shipper(tmp_path / "journal", paths, stage, clock)


async def ship(made: Shipper) -> None:
    while await made.step():
        pass


def expected(count: int) -> Counter[str]:
    return Counter({f"worker-0:1:{seq}": 1 for seq in range(1, count + 1)})


class Gate(Stage):
    """An index that keeps one document's batch waiting until it is told to go on."""

    def __init__(self, held: str) -> None:
        super().__init__()
        self.held, self.go, self.most, self._now = held, asyncio.Event(), 0, 0

    async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
        self._now += 1
        self.most = max(self.most, self._now)
        if any(each.id == self.held for each in documents):
            await self.go.wait()
        await asyncio.sleep(0)
        self._now -= 1
        return await super().create(documents)


def test_what_is_behind_a_waiting_batch_travels_but_the_cursor_waits(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 1000)

    async def main() -> None:
        stage = Gate("worker-0:1:5")
        made = make(tmp_path, stage)
        sending = asyncio.create_task(ship(made))
        async with asyncio.timeout(20):
            while len(stage.total()) < 500:  # noqa: ASYNC110 (a count tells)
                await asyncio.sleep(0.01)
        saved = cursors.load(tmp_path / "cursor.json")
        assert made.done == saved.done == {}
        assert saved.sending is not None
        assert saved.sending["worker-0"].seq >= 500
        stage.go.set()
        await asyncio.wait_for(sending, 20)
        assert stage.total() == expected(1000)
        assert 2 <= stage.most <= LANES
        saved = cursors.load(tmp_path / "cursor.json")
        assert (saved.done["worker-0"].seq, saved.sending) == (1000, None)

    asyncio.run(main())


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("calls", [1, 3, 7, 20])
def test_a_crash_with_many_batches_under_way_doubles_nothing_over_a_rollover(tmp_path: Path, calls: int) -> None:
    write_journal(tmp_path / "journal", 1000)

    class Dies(Stage):
        async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
            answer = await super().create(documents)
            if len(self.calls) >= calls:
                raise Killed
            await asyncio.sleep(0)
            return answer

    first = Dies()
    with pytest.raises(Killed):
        asyncio.run(ship(make(tmp_path, first)))
    second = Stage()
    second.backing = [*first.backing, {}]
    asyncio.run(ship(make(tmp_path, second)))
    assert second.total() == expected(1000)


def test_an_open_request_survives_a_restart_by_its_place_alone(tmp_path: Path) -> None:
    worker = BusyWorker(tmp_path / "journal", "worker-0")
    worker.write(30, NOW)
    worker.seal()
    stage = Stage()
    asyncio.run(ship(make(tmp_path, stage)))
    kept = cursors.load(tmp_path / "cursor.json").open_requests
    assert len(kept) == 20
    assert {frozenset(row) for row in kept.values()} == {frozenset({"at", "since", "shown"})}
    worker.finish(NOW)
    asyncio.run(ship(make(tmp_path, stage)))
    assert stage.total() == Counter({f"WORKER-0R{number:012d}": 1 for number in range(1, worker.requests + 1)})
    whole = stage.backing[0][f"WORKER-0R{worker.requests:012d}"].body
    assert (whole["user.name"], whole["http.response.status_code"]) == ("tanaka", 200)


def test_a_document_that_the_clock_calls_for_is_not_stored_twice(tmp_path: Path) -> None:
    worker = BusyWorker(tmp_path / "journal", "worker-0")
    worker.write(1, NOW)

    class Dies(Stage):
        async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
            await super().create(documents)
            raise Killed

    now = [NOW]
    first = Dies()
    made = make(tmp_path, first, lambda: now[0])
    asyncio.run(ship(made))
    now[0] += OPEN_AFTER + 1
    with pytest.raises(Killed):
        asyncio.run(ship(made))
    second = Stage()
    second.backing = [*first.backing, {}]
    asyncio.run(ship(make(tmp_path, second, lambda: now[0])))
    assert second.total() == Counter({"WORKER-0R000000000001.open": 1})


def test_records_before_one_that_breaks_the_chain_are_not_passed_over(tmp_path: Path) -> None:
    last = write_journal(tmp_path / "journal", 5)
    path = tmp_path / "journal" / "worker-0" / "000001-000000000001.active"
    good = path.read_bytes()
    body = orjson.dumps(event(Action.SESSION_ENDED, NOW, {"sekisho.session.id": "s7"}))
    forged, _ = encode(head("worker-0", 1), 7, last, bytes(16), body)
    path.write_bytes(good + forged)
    source = DocumentSource(tmp_path / "journal", Cursor())
    portion = source.portion(NOW, 1 << 20)
    assert "record 6" in str(source.refused["worker-0"])
    assert (portion.documents, dict(portion.links)) == ((), {})


def test_the_pace_grows_while_answers_are_quick_and_shrinks_when_not() -> None:
    pace = Pace()
    for _ in range(100):
        pace.answered(pace.size, TARGET / 2)
    assert (pace.size, pace.lanes) == (CEILING, LANES)
    pace.answered(pace.size, (TARGET + SLOW) / 2)
    assert (pace.size, pace.lanes) == (CEILING, LANES)
    pace.answered(pace.size, SLOW * 2)
    assert CEILING / 2 < pace.size < CEILING
    assert pace.lanes < LANES
    for _ in range(100):
        pace.answered(pace.size, SLOW * 2)
    assert (pace.size, pace.lanes) == (START, 2)
    for _ in range(100):
        pace.throttled()
    assert (pace.size, pace.lanes) == (FLOOR, 1)
    for _ in range(5):
        pace.answered(pace.size, SLOW * 2)  # there is room again, though it is slow
    assert (pace.size >= START, pace.lanes) == (True, 2)


def test_small_batches_say_nothing_about_large_ones() -> None:
    pace = Pace()
    for _ in range(10):
        pace.answered(1000, 0.001)
    assert pace.size == START


def test_what_was_too_large_is_not_tried_again() -> None:
    pace = Pace()
    pace.too_large(200_000)
    for _ in range(50):
        pace.answered(pace.size, 0.01)
    assert pace.size == 100_000


def test_too_large_ends_with_everything_stored_and_smaller_batches(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 200)

    class Small(Stage):
        async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
            if sum(map(delivery.weight, documents)) > 3000:
                raise IndexUnavailable(IndexFault.TOO_LARGE, "answered 413")
            return await super().create(documents)

    stage = Small()
    made = make(tmp_path, stage)
    asyncio.run(ship(made))
    assert stage.total() == expected(200)
    assert made.counts.rejected == 0


def test_a_checkpoint_does_not_wait_for_records(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 50)

    async def main() -> None:
        stage = Gate("worker-0:1:5")
        task = Shipping(tmp_path / "journal", tmp_path / "elastic", stage, dict, lambda: NOW)
        running = asyncio.create_task(task.run())
        await until(lambda: stage.most > 0)
        task.checkpoint("log.example/log\n42\nroot\n\n— signature\n")
        await until(lambda: "checkpoint:log.example/log:42" in stage.total())
        await until(lambda: not task.status()["checkpoints_waiting"])
        assert "worker-0:1:5" not in stage.total()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
