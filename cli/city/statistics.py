"""The small SQLite file that Datasette serves: invented statistics of the sample city."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_DISTRICTS = (("中央", 18_204), ("緑町", 12_877), ("川端", 9_541), ("港", 6_320), ("山手", 4_118))
_YEARS = range(2016, 2026)


def write(path: Path) -> None:
    """Create the file. Raises sqlite3.OperationalError where it exists already."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE population (year INTEGER, district TEXT, residents INTEGER, households INTEGER)")
        for step, year in enumerate(_YEARS):
            rows = [
                (year, name, start - step * (start // 120), (start - step * (start // 200)) * 10 // 22)
                for name, start in _DISTRICTS
            ]
            database.executemany("INSERT INTO population VALUES (?, ?, ?, ?)", rows)
