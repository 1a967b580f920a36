"""Detection that follows what the auditor remembers: as much a look as there is."""

from __future__ import annotations

from pathlib import Path

from audit.auditor import Auditor
from audit.checkpoint import generate
from audit.detect.engine import Engine
from tests.support.busy_journal import BusyWorker

NOW = 1_790_000_000.0
LOOKS = 7


def test_bug_a_look_took_one_of_many_small_pieces_and_fell_ever_further_behind(tmp_path: Path) -> None:
    """The auditor looks three times while detection looks once: what it kept was small each time, and much in all."""
    writer = BusyWorker(tmp_path / "journal", "worker-0")
    auditor = Auditor(tmp_path / "journal", tmp_path / "log", generate("log.example"))
    for _ in range(LOOKS):
        writer.write(20, NOW)
        auditor.poll()
    engine = Engine(tmp_path / "journal", tmp_path / "detect.json", auditor.recent)
    taken, _ = engine.poll()
    assert taken == writer.records
    assert not engine.more
    auditor.close()
