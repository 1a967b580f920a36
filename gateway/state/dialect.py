"""What differs between the databases: how to connect, and the settings that make a commit durable."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

_ARGS = {"timeout": 5.0, "check_same_thread": False}  # seconds to wait for a checkpoint of the write-ahead log


def writer_engine(path: Path) -> sa.Engine:
    """The one writer's engine: WAL, and a commit returns after fsync (synchronous=FULL, sqlite.org/pragma.html)."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args=_ARGS, hide_parameters=True)
    sa.event.listen(engine, "connect", _durable)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def reader_engine(path: Path) -> sa.Engine:
    """An engine that cannot write: SQLite's `query_only`, and the file is never created."""
    location = f"sqlite:///file:{path}?mode=rw&uri=true"  # mode=ro could not open the shared memory of the WAL
    engine = sa.create_engine(location, connect_args=_ARGS, hide_parameters=True)
    sa.event.listen(engine, "connect", _query_only)
    return engine


def _durable(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below, not the driver's implicit one
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _query_only(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA query_only=ON")
