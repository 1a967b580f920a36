"""The smallest settings that are whole, and a store with given records, for tests of what control does with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.state import migration, store
from gateway.state.sealing import Sealing

SETTINGS = """
[portal]
host = "portal.city.example"
rp_id = "portal.city.example"
organisation = "関市"
help_contact = "内線1234"
[listeners.loopback]
address = "127.0.0.1:1"
"""


def fill(folder: Path, records: Iterable[Any], now: float) -> None:
    """Make `sealing.key` and `sekisho.db` in `folder`, the store holding these records as of `now`."""
    (folder / "sealing.key").write_text("00" * 32)
    path = folder / "sekisho.db"
    migration.create(path)
    writer = store.Store(path, Sealing.load(folder / "sealing.key"))
    with writer.transaction("test", now) as transaction:
        for record in records:
            transaction.put(record)
    writer.close()
