"""The embedded index holds what the journals hold: built at once or bit by bit, and without what was deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from audit.index import reading
from audit.index.files import load
from audit.index.gone import gone
from audit.index.writer import IndexWriter
from audit.query import Query
from audit.search import search
from audit.segment import segments
from tests.support.house import DAY, House

YEAR = 365 * DAY
EVERYTHING = Query(limit=10_000)


def indexed(house: House, folder: Path) -> IndexWriter:
    writer = IndexWriter(house.trail.journals, folder)
    while writer.poll(house.now):
        writer.flush()
    writer.flush()
    return writer


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """Every row of every file that counts, with all columns."""
    files = [str(folder / name) for name, _, _ in load(folder).files]
    with duckdb.connect() as database:
        return database.execute("SELECT * FROM read_parquet(?) ORDER BY writer, epoch, seq", [files]).fetchall()


def answers(house: House, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    found = (reading.search(house.trail.journals, folder, EVERYTHING), search(house.trail.journals, EVERYTHING))
    by_index, by_journals = (sorted(each, key=lambda event: str(event["event.id"])) for each in found)
    return by_index, by_journals


@pytest.mark.promise("P6.index-holds-what-journals-hold")
def test_built_bit_by_bit_joined_and_cleared_it_equals_one_built_anew(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": YEAR})
    folder = tmp_path / "index"
    house.filled()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audit.index.writer.JOINED", 2)
        indexed(house, folder)
        house.filled("control")
        house.keep(2)
        indexed(house, folder).compact()
        house.filled(first=100)
        writer = indexed(house, folder)
        assert not writer.forget()
        before = len(rows(folder))
        house.now += YEAR + 30
        house.keep(4)
        assert house.forms().count("entries") > 0
        assert writer.forget()
        assert not writer.forget()
        assert len(rows(folder)) < before
        writer = indexed(house, folder)
        writer.compact()
    indexed(house, tmp_path / "anew")
    assert rows(folder) == rows(tmp_path / "anew")
    assert len(rows(folder)) > 0
    by_index, by_journals = answers(house, folder)
    assert by_index == by_journals


def test_what_waits_while_rows_are_dropped_is_not_lost(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": YEAR})
    folder = tmp_path / "index"
    house.filled()
    house.keep(2)
    writer = indexed(house, folder)
    house.filled("control")
    assert writer.poll(house.now) > 0
    house.now += YEAR + 30
    house.keep(4)
    assert writer.forget()
    again = IndexWriter(house.trail.journals, folder)  # a crash with what waits in memory only
    while again.poll(house.now):
        again.flush()
    by_index, by_journals = answers(house, folder)
    assert by_index == by_journals
    assert any(event["event.id"].startswith("control") for event in by_index)


def test_a_crash_before_the_manifest_leaves_the_old_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path, {"access": YEAR})
    folder = tmp_path / "index"
    house.filled()
    house.keep(2)
    writer = indexed(house, folder)
    before = rows(folder)
    house.now += YEAR + 30
    house.keep(4)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("audit.index.writer.save", die)
        with pytest.raises(KeyboardInterrupt):
            writer.forget()
    assert rows(folder) == before
    again = IndexWriter(house.trail.journals, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["events-000000001.parquet", "manifest.json"]
    assert again.forget()
    assert len(rows(folder)) < len(before)


def test_trimmed_segments_are_gone_from_their_start(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.filled("worker-0.anonymous")
    folder = house.trail.journals / "worker-0.anonymous"
    assert gone(house.trail.journals) == {}
    known = segments(folder)
    known[0].path.unlink()
    assert gone(house.trail.journals) == {"worker-0.anonymous": (((0, 0), known[1].key),)}


def test_neighbouring_segments_are_one_interval(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": YEAR})
    house.filled()
    house.keep(2)
    house.now += 2 * YEAR
    house.keep(6)
    known = segments(house.trail.journals / "worker-0")
    left = [segment for segment in known if not segment.expired]
    last = left[0].key if left else known[-1].key
    assert gone(house.trail.journals)["worker-0"] == ((known[0].key, last),)
