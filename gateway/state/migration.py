"""Makes a store and brings an older one to the current schema: Alembic migrations that are part of the package.

Apart from `gateway.state.store`, so that a process that only opens a store does not load Alembic: a restarted steward
has five seconds before its workers refuse.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config

from gateway.state.dialect import writer_engine


def create(path: Path) -> None:
    """Make a new, empty store at `path` (mode 0600). Raises FileExistsError when there is one."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    upgrade(path)


def upgrade(path: Path) -> None:
    """Bring an existing store to the current schema. Raises FileNotFoundError."""
    path.stat()
    engine = writer_engine(path)
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


def version_of(path: Path) -> str:
    """Return the schema of the store at `path`, "" for none. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        row = connection.execute("select version_num from alembic_version").fetchone()
    return str(row[0]) if row else ""


def configuration() -> Config:
    """Return Alembic's configuration for the packaged migrations."""
    config = Config()
    config.set_main_option("script_location", "gateway:state/migrations")
    return config
