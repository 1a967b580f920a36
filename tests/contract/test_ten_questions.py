"""The ten questions that a CISO asks (docs/questions.md): the commands exist, and journals and index answer alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from audit.checkpoint import generate
from audit.index import reading
from audit.index.writer import IndexWriter
from audit.query import counted
from audit.search import search
from tests.contract.test_search_contract import stable
from tests.support.ten_questions import NOW, asked_by, commands, records
from tests.support.trails import Trail


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Journals of some weeks; the index has all but the last."""
    folder = tmp_path_factory.mktemp("office")
    trail = Trail(folder / "journal", folder / "log", generate("office"))
    everything = list(records())
    trail.write("worker-0", everything[:400])
    writer = IndexWriter(folder / "journal", folder / "index")
    while writer.poll(NOW):
        writer.flush()
    trail.write("worker-0", everything[400:])
    return folder / "journal", folder / "index"


def test_there_are_ten() -> None:
    assert len(commands()) == 10


@pytest.mark.parametrize("command", commands())
def test_journals_and_index_answer_alike(
    office: tuple[Path, Path], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals, index = office
    asked = asked_by(command, monkeypatch)
    query = replace(asked.query, until=asked.query.until or NOW)  # opening a journal is recorded with today's time
    wanted = list(search(journals, replace(query, limit=10_000)))
    assert 0 < len(wanted) < 400, "a question with answers, and not everything is one"
    if asked.by is None:
        assert sorted(map(stable, reading.search(journals, index, query))) == sorted(map(stable, wanted))
    else:
        assert reading.count(journals, index, query, asked.by) == counted(wanted, asked.by)
