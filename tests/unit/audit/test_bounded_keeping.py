"""A bounded journal deletes its oldest segments while the auditor compresses and expires them: neither trips."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from audit.anonymous import BoundedJournal, trimmed_up_to
from audit.keeping import compressing
from audit.keeping.compressing import compress
from audit.segment import COMPRESSED, EXPIRED, segments
from tests.support.house import DAY, START, House
from tests.support.trails import decision

W = "worker-0.anonymous"


def written(house: House, records: int, total: int, first: int = 0) -> None:
    """Have strangers write so many records, of which about `total` bytes stay."""

    async def run() -> None:
        journal = BoundedJournal(
            house.trail.journals, W, total_bytes=total, segment_bytes=4000, segment_age=3600,
            stall_limit=30, clock=lambda: START + first,
        )  # fmt: skip
        journal.open(asyncio.get_running_loop())
        for start in range(first, first + records, 4):
            for number in range(start, start + 3):
                journal.append(decision(number), False, None)
            await journal.record(decision(start + 3))
        journal.close(5)

    asyncio.run(run())


def keys(house: House) -> list[tuple[int, int]]:
    return [segment.key for segment in segments(house.trail.journals / W)]


@pytest.mark.parametrize("ages", [{}, {"anonymous": 1.0}])
def test_what_was_compressed_or_expired_is_trimmed_in_its_turn(tmp_path: Path, ages: dict[str, float]) -> None:
    house = House(tmp_path, ages)
    written(house, 60, 1 << 20)
    house.now += DAY
    house.keep(6)
    form = EXPIRED if ages else COMPRESSED
    assert set(house.forms(W)) == {form}
    assert len(keys(house)) >= 5
    written(house, 60, 6000, first=100)
    assert not set(house.forms(W)) - {form, "jsonl"}
    first = keys(house)[0]
    trimmed = trimmed_up_to(house.trail.journals / W)
    assert trimmed is not None
    assert trimmed >= (first[0], first[1] - 1)  # a trim that the end of the process cut short is done at the next start
    house.keep(6)
    proved = house.verify().writers[W]
    assert proved.removed > 0
    written(house, 4, 6000, first=200)  # a start finds what the last trim said, whatever form it has by now
    house.keep(6)
    assert house.verify().writers[W].removed >= proved.removed


def test_a_segment_that_goes_while_it_is_compressed_stays_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    written(house, 40, 1 << 20)
    segment = segments(house.trail.journals / W)[0]
    same = compressing._same  # the last step before the new name

    def trimmed_meanwhile(plain: Path, made: Path) -> bool:
        found = same(plain, made)
        plain.unlink()
        return found

    monkeypatch.setattr(compressing, "_same", trimmed_meanwhile)
    with pytest.raises(FileNotFoundError):
        compress(segment)
    assert list((house.trail.journals / W).glob(f"{segment.path.stem}*")) == []


@pytest.mark.parametrize("form", [COMPRESSED, EXPIRED])
def test_what_a_crash_brought_back_of_a_trimmed_journal_is_removed_at_the_next_start(tmp_path: Path, form: str) -> None:
    house = House(tmp_path)
    written(house, 40, 1 << 20)
    house.now += DAY
    house.keep(3)
    first = segments(house.trail.journals / W)[0]
    brought_back = first.path.read_bytes()
    written(house, 60, 6000, first=100)
    house.keep(2)
    house.verify()
    first.under(form).path.write_bytes(brought_back)
    (house.trail.journals / W / "000001-000000000001.jsonl.zst.tmp").write_bytes(b"half")

    async def start(_auditor: object, keeper: object) -> None:
        task = asyncio.create_task(keeper.run(60.0))  # type: ignore[attr-defined]
        async with asyncio.timeout(30):
            while first.key in keys(house) or any((house.trail.journals / W).glob("*.tmp")):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    house.with_keeper(start)
    house.keep(2)
    house.verify()
