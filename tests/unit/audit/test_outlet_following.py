"""An outlet's task: its place moves only behind what is out, and a crash at any moment costs and doubles no line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from audit.documents import Document
from audit.outlets import follow, ndjson, place
from audit.outlets.follow import Following, OutletUnavailable
from audit.outlets.ndjson import NdjsonFile
from tests.unit.audit.test_shipper import NOW, write_journal


def ids(path: Path, kept: int = 9) -> list[str]:
    """The documents' ids in the order in which they were written, over the older files too."""
    files = [path.with_name(f"{path.name}.{number}") for number in range(kept, 0, -1)] + [path]
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    return [json.loads(line)["event"]["id"] for line in lines]


def expected(count: int) -> list[str]:
    return [f"worker-0:1:{seq}" for seq in range(1, count + 1)]


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_IDLE", 0.01)
    monkeypatch.setattr(follow, "BACKOFF_FLOOR", 0.01)


def following(tmp_path: Path, outlet: follow.Outlet) -> Following:
    return Following(tmp_path / "journal", tmp_path / "outlets", outlet, dict, lambda: NOW)


def run(task: Following, until: Callable[[], bool]) -> None:
    async def main() -> None:
        running = asyncio.create_task(task.run())
        async with asyncio.timeout(20):
            while not until() and not running.done():  # noqa: ASYNC110 (a file tells)
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.promise("P6.outlet-ndjson-exact")
@pytest.mark.parametrize("moment", ["before the append", "half a line written", "after the append", "after the place"])
def test_a_crash_at_any_moment_leaves_each_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "out" / "sekisho.ndjson"
    last = write_journal(tmp_path / "journal", 20)
    run(following(tmp_path, NdjsonFile(path, 10**6, 3)), lambda: kept(tmp_path) == 20)
    write_journal(tmp_path / "journal", 20, start=21, prev=last)
    append, keep = ndjson.durable.append, follow.save

    def dying(file: Path, data: bytes) -> None:
        if moment == "before the append":
            raise Crash
        append(file, data[: -len(data) // 3] if moment == "half a line written" else data)
        if moment != "after the place":
            raise Crash

    def saved(file: Path, new: place.Place) -> None:
        keep(file, new)
        if new.cursor.done and new.cursor.done["worker-0"].seq == 40:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(ndjson.durable, "append", dying)
        patch.setattr(follow, "save", saved)
        died = asyncio.run(_dies(following(tmp_path, NdjsonFile(path, 10**6, 3))))
    assert died
    second = following(tmp_path, NdjsonFile(path, 10**6, 3))
    run(second, lambda: kept(tmp_path) == 40)
    assert ids(path) == expected(40)


def kept(tmp_path: Path) -> int:
    """The last record behind which the place is."""
    link = place.load(tmp_path / "outlets" / "ndjson.json").cursor.done.get("worker-0")
    return 0 if link is None else link.seq


async def _dies(task: Following) -> bool:
    try:
        await asyncio.wait_for(task._follow(), 20)
    except Crash:
        return True
    return False


def test_files_are_turned_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.ndjson"
    prev, outlet = b"0" * 64, NdjsonFile(path, 2000, 2)
    for start in range(1, 101, 20):
        prev = write_journal(tmp_path / "journal", 20, start=start, prev=prev)
        end = start + 19

        def turned(end: int = end) -> bool:
            found = place.load(tmp_path / "outlets" / "ndjson.json")
            return bool(found.cursor.done) and found.cursor.done["worker-0"].seq == end and found.mark["size"] == 0

        run(following(tmp_path, outlet), turned)
    assert sorted(each.name for each in tmp_path.glob("sekisho*")) == [
        "sekisho.ndjson", "sekisho.ndjson.1", "sekisho.ndjson.2",
    ]  # fmt: skip
    assert ids(path) == expected(100)[-40:]


def test_a_file_of_somebody_else_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.ndjson"
    last = write_journal(tmp_path / "journal", 5)
    run(following(tmp_path, NdjsonFile(path, 10**6, 3)), lambda: kept(tmp_path) == 5)
    path.rename(tmp_path / "taken-away")
    path.write_text('{"event":{"id":"theirs"}}\n' * 99)
    write_journal(tmp_path / "journal", 5, start=6, prev=last)
    run(following(tmp_path, NdjsonFile(path, 10**6, 3)), lambda: kept(tmp_path) == 10)
    assert ids(path) == ["theirs"] * 99 + expected(10)[5:]


class Doubtful:
    """An outlet whose connection breaks once after it took a portion, while that is in doubt."""

    name, doubt = "syslog", 0.2

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.opened = 0

    async def open(self, mark: Mapping[str, int]) -> Mapping[str, int]:
        self.opened += 1
        return mark

    async def send(self, documents: Sequence[Document]) -> Mapping[str, int]:
        self.taken += [each.id for each in documents]
        return {}

    async def check(self) -> None:
        if self.opened == 1:
            raise OutletUnavailable("it left")

    async def turn(self) -> None:
        """Nothing is due."""

    async def close(self) -> None:
        """Nothing is open."""


def test_what_is_in_doubt_is_sent_again(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 5)
    outlet = Doubtful()
    task = following(tmp_path, outlet)
    kept = tmp_path / "outlets" / "syslog.json"
    run(task, lambda: bool(place.load(kept).cursor.done))
    assert outlet.taken == expected(5) * 2
    assert task.status()["fault"] == ""
    run(following(tmp_path, outlet), lambda: outlet.opened == 3)
    assert outlet.taken == expected(5) * 2
