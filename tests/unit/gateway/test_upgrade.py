"""`sekisho state upgrade`: nothing to do is said, a running steward is left alone, the state before is kept."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.state import migration, schema
from gateway.upgrade import StillRunning, upgrade_store
from tests.support.filled_installation import SETTINGS


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("state", "run", "journal"):
        (tmp_path / name).mkdir()
    migration.create(tmp_path / "state" / "sekisho.db")
    return Settings.parse(SETTINGS, tmp_path / "sekisho.toml")


def test_a_current_store_is_left_as_it_is(settings: Settings) -> None:
    before = (settings.paths.state / "sekisho.db").read_bytes()
    done = upgrade_store(settings, 1.0)
    assert (done.before, done.after, done.copy) == (schema.HEAD, schema.HEAD, None)
    assert (settings.paths.state / "sekisho.db").read_bytes() == before


def test_a_running_steward_keeps_its_store(settings: Settings) -> None:
    with socket.socket(socket.AF_UNIX) as steward:
        steward.bind(str(settings.paths.run / "steward.sock"))
        steward.listen()
        with pytest.raises(StillRunning):
            upgrade_store(settings, 1.0)


def test_an_older_store_is_copied_recorded_and_upgraded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settings.paths.state / "sekisho.db"

    def to_newer(store: Path) -> None:
        with sqlite3.connect(store) as connection:
            connection.execute("update alembic_version set version_num = '9999'")

    monkeypatch.setattr(schema, "HEAD", "9999")
    monkeypatch.setattr(migration, "upgrade", to_newer)
    done = upgrade_store(settings, 1.0)
    assert done.after == "9999"
    assert done.copy is not None
    assert done.copy.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(done.copy) as copy:
        assert copy.execute("select version_num from alembic_version").fetchone()[0] == done.before
    kept = "".join(file.read_text() for file in settings.paths.journal.rglob("*") if file.is_file())
    assert kept.count("state.upgrade") == 2
    assert path.exists()
