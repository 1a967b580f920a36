"""What expired in the journals is dropped from the embedded index, which then gives the journals' answers again."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.index import reading
from audit.index.forgetting import Gone, expired
from audit.index.writer import IndexWriter
from audit.query import Query
from audit.search import search
from tests.support.house import DAY, House

YEAR = 365 * DAY
ALL = Query(limit=10_000)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Two epochs of a worker, a year apart, and control."""
    made = House(tmp_path, {"access": YEAR})
    made.filled()
    made.filled(first=int(YEAR))
    made.filled("control")
    return made


def indexed(house: House, folder: Path, batch: int) -> IndexWriter:
    """Index everything, a file each `batch` polls."""
    writer = IndexWriter(house.trail.journals, folder)
    polls = 0
    while writer.poll(house.now):
        polls += 1
        if polls % batch == 0:
            writer.flush()
    writer.flush()
    return writer


@pytest.mark.parametrize("batch", [1, 100])
def test_expired_records_leave_the_index_and_the_rest_stays(house: House, tmp_path: Path, batch: int) -> None:
    folder, journals = tmp_path / "index", house.trail.journals
    writer = indexed(house, folder, batch)
    assert expired(journals) == ()
    assert writer.forget(()) == 0
    before = list(reading.search(journals, folder, ALL))
    house.now += YEAR + DAY
    house.keep(5)
    gone = expired(journals)
    assert gone == (Gone("worker-0", 1, 1, 61),)
    assert writer.forget(gone) >= 1
    mine = [event for event in reading.search(journals, folder, ALL) if not event["event.id"].startswith("auditor")]
    assert mine == [event for event in before if not event["event.id"].startswith("worker-0:1:")]
    assert list(reading.search(journals, folder, ALL)) == list(search(journals, ALL))
    files = writer.manifest.files
    assert writer.forget(gone) == 0  # a second time there is nothing to do
    assert IndexWriter(journals, folder).manifest.files == files
    assert {path.name for path in folder.glob("*.parquet")} == {name for name, *_ in files}
    writer.poll(house.now)  # and indexing goes on from where it was
    writer.flush()
    assert list(reading.search(journals, folder, ALL)) == list(search(journals, ALL))


def test_an_index_of_which_everything_expired_is_empty(house: House, tmp_path: Path) -> None:
    writer = indexed(house, tmp_path / "index", 100)
    gone = (Gone("worker-0", 1, 1, 61), Gone("worker-0", 2, 1, 61), Gone("control", 1, 1, 61))
    assert writer.forget(gone) == 1
    assert writer.manifest.files == ()
    assert list((tmp_path / "index").glob("*.parquet")) == []
