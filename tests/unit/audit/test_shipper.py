"""The shipper against an index that fails in every way a call can fail: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from audit.documents import Document
from audit.elastic import delivery
from audit.elastic.cursor import Cursor, CursorInvalid
from audit.elastic.delivery import batches
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.outcome import AnswerInvalid, outcome
from audit.elastic.pace import Pace
from audit.elastic.shipper import Shipper, ShipperPaths
from audit.event import Action, event
from audit.segment import Link, encode, head

NOW = 1_790_000_000.0


def write_journal(root: Path, count: int, writer: str = "worker-0", start: int = 1, prev: bytes = b"0" * 64) -> bytes:
    """Append `count` session records to a journal made by hand; return the last entry in hex."""
    folder = root / writer
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "000001-000000000001.active").open("ab") as file:
        for seq in range(start, start + count):
            body = orjson.dumps(event(Action.SESSION_ENDED, NOW, {"sekisho.session.id": f"s{seq}"}))
            line, prev = encode(head(writer, 1), seq, prev, bytes(16), body)
            file.write(line)
    return prev


class Stage:
    """An index in memory with several backing indices, and a script of faults, one a call."""

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.backing: list[dict[str, Document]] = [{}]
        self.calls: list[str] = []

    def total(self) -> Counter[str]:
        return Counter(name for index in self.backing for name in index)

    async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
        fault = self.script.pop(0) if self.script else ""
        self.calls.append(f"create {len(documents)} {fault}".strip())
        match fault:
            case "throttled" | "refused" | "too_large" | "bad_batch":
                raise IndexUnavailable(IndexFault(fault), fault, 0.0)
            case "lost":
                raise IndexUnavailable(IndexFault.UNCERTAIN, fault)
            case "stored then lost":
                self._store(documents)
                raise IndexUnavailable(IndexFault.UNCERTAIN, fault)
            case "half stored, rolled over, lost":
                self._store(documents[: len(documents) // 2])
                self.backing.append({})
                raise IndexUnavailable(IndexFault.UNCERTAIN, fault)
            case "half put off":
                middle = len(documents) // 2
                items = self._store(documents[:middle])
                busy = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "busy"}}
                return {"items": items + [{"create": busy} for _ in documents[middle:]]}
            case "nonsense":
                self._store(documents)
                return {"items": []}
            case "poison":
                items = self._store(documents[1:])
                bad = {"status": 400, "error": {"type": "document_parsing_exception", "reason": "strict"}}
                return {"items": [{"create": bad}, *items]}
        return {"items": self._store(documents)}

    async def stored(self, documents: Sequence[Document]) -> frozenset[str]:
        self.calls.append(f"stored {len(documents)}")
        return frozenset(d.id for d in documents if any(d.id in index for index in self.backing))

    def _store(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        items = []
        for document in documents:
            status = 409 if document.id in self.backing[-1] else 201
            self.backing[-1][document.id] = document
            items.append({"create": {"status": status, "_id": document.id}})
        return items


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BACKOFF_FLOOR", 0.0)
    monkeypatch.setattr(delivery, "SETTLE", 0.0)


def make(tmp_path: Path, stage: Stage) -> Shipper:
    paths = ShipperPaths(tmp_path / "cursor.json", tmp_path / "dead.ndjson")
    return Shipper(tmp_path / "journal", paths, stage, lambda: NOW)


def ship(shipper: Shipper) -> None:
    async def main() -> None:
        while await shipper.step():
            pass

    asyncio.run(main())


@pytest.mark.parametrize(
    "script",
    [
        [],
        ["throttled", "throttled"],
        ["refused"],
        ["lost"],
        ["stored then lost"],
        ["half stored, rolled over, lost"],
        ["half put off", "half put off"],
        ["nonsense"],
        ["too_large", "too_large"],
        ["half put off", "half stored, rolled over, lost", "stored then lost"],
    ],
    ids=" / ".join,
)
def test_every_fault_ends_with_each_document_once(tmp_path: Path, script: list[str]) -> None:
    write_journal(tmp_path / "journal", 40)
    stage = Stage(*script)
    shipper = make(tmp_path, stage)

    ship(shipper)

    assert stage.total() == Counter({f"worker-0:1:{seq}": 1 for seq in range(1, 41)})
    assert shipper.counts.rejected == 0
    assert not stage.script


def test_a_rejected_document_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 3)
    stage = Stage("poison")
    ship(make(tmp_path, stage))

    (letter,) = [orjson.loads(line) for line in (tmp_path / "dead.ndjson").read_bytes().splitlines()]
    assert (letter["id"], letter["status"]) == ("worker-0:1:1", 400)
    assert letter["reason"] == "document_parsing_exception: strict"
    assert set(stage.total()) == {"worker-0:1:2", "worker-0:1:3"}


def test_one_bad_document_that_spoils_the_batch_is_found(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 8)

    class Spoilt(Stage):
        async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
            if any(d.id == "worker-0:1:5" for d in documents):
                raise IndexUnavailable(IndexFault.BAD_BATCH, "answered 400")
            return await super().create(documents)

    stage = Spoilt()
    shipper = make(tmp_path, stage)
    ship(shipper)

    assert set(stage.total()) == {f"worker-0:1:{seq}" for seq in range(1, 9)} - {"worker-0:1:5"}
    assert shipper.counts.rejected == 1


def test_restart_continues_where_it_was(tmp_path: Path) -> None:
    prev = write_journal(tmp_path / "journal", 5)
    stage = Stage()
    ship(make(tmp_path, stage))
    write_journal(tmp_path / "journal", 5, start=6, prev=prev)
    stage.calls.clear()

    ship(make(tmp_path, stage))

    assert stage.calls == ["create 5"]
    assert len(stage.total()) == 10


class Killed(Exception):
    """The process ends here."""


@pytest.mark.promise("P6.no-duplicates-after-crash")
@pytest.mark.parametrize("moment", ["before sending", "after sending"])
def test_crash_with_a_rollover_before_the_restart_doubles_nothing(tmp_path: Path, moment: str) -> None:
    write_journal(tmp_path / "journal", 6)

    class Dies(Stage):
        async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
            if moment == "after sending":
                await super().create(documents)
            raise Killed

    stage = Dies()
    with pytest.raises(Killed):
        ship(make(tmp_path, stage))
    second = Stage()
    second.backing = [*stage.backing, {}]

    ship(make(tmp_path, second))

    assert second.total() == Counter({f"worker-0:1:{seq}": 1 for seq in range(1, 7)})


def test_damaged_cursor_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "cursor.json").write_bytes(b'{"v":1,"done":{"w":[1]}}')

    with pytest.raises(CursorInvalid):
        make(tmp_path, Stage())


def test_cursor_round_trip() -> None:
    link = Link(3, 14, b"\x01" * 32)
    cursor = Cursor({"w": link}, {"R": {"record": {}, "since": 1.0, "shown": False}}, {"w": link})

    assert Cursor.parse(cursor.dump()) == cursor


@pytest.mark.parametrize("answer", [{}, {"items": []}, {"items": [{}]}, {"items": [{"create": {"status": "201"}}]}])
def test_answers_that_answer_something_else(answer: dict[str, Any]) -> None:
    with pytest.raises(AnswerInvalid):
        outcome([Document("a", "access", {})], answer)


@pytest.mark.parametrize(
    ("item", "place"),
    [
        ({"status": 201}, "created"),
        ({"status": 409}, "already"),
        ({"status": 429}, "again"),
        ({"status": 503}, "again"),
        ({"status": 403, "error": {"type": "cluster_block_exception", "reason": "x"}}, "again"),
        ({"status": 403, "error": {"type": "security_exception", "reason": "x"}}, "again"),
        ({"status": 404, "error": {"type": "index_not_found_exception", "reason": "x"}}, "again"),
        ({"status": 400, "error": {"type": "validation_exception", "reason": "maximum shards open"}}, "again"),
        ({"status": 400}, "rejected"),
        ({"status": 400, "error": {"type": "document_parsing_exception", "reason": "x"}}, "rejected"),
        ({"status": 201, "failure_store": "used"}, "rejected"),
    ],
)
def test_items_are_sorted_by_what_they_mean(item: dict[str, Any], place: str) -> None:
    result = outcome([Document("a", "access", {})], {"items": [{"create": item}]})

    assert [len(getattr(result, name)) for name in ("created", "already", "again", "rejected")].count(1) == 1
    assert len(getattr(result, place)) == 1


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace()
    pace.size = 350
    made = list(batches([Document(f"d{n}", "access", {"message": "x" * 30}) for n in range(7)], pace))

    assert [len(batch) for batch in made] == [2, 2, 2, 1]
    assert [d.id for batch in made for d in batch] == [f"d{n}" for n in range(7)]
    monkeypatch.setattr(delivery, "BATCH_DOCUMENTS", 3)
    assert [len(batch) for batch in batches([Document("d", "access", {})] * 7, Pace())] == [3, 3, 1]
