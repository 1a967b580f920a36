"""Records to table rows and back. The one place where a factor's secrets are sealed and opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

from gateway.state.records import Factor, Row
from gateway.state.sealing import Sealing

RecordT = TypeVar("RecordT", bound=Row)


def to_columns(record: Row, sealing: Sealing) -> dict[str, Any]:
    """The column values of `record`, without its revision."""
    row = record.to_row()
    if isinstance(record, Factor):
        row["sealed"] = sealing.seal(orjson.dumps(row.pop("data")), _about(record.id, record.user_id, record.kind))
    return row


def from_columns(kind: type[RecordT], columns: Mapping[str, Any], sealing: Sealing) -> RecordT:
    """The record of one row. Raises `SealingFault` for a factor that does not open."""
    row = {name: value for name, value in columns.items() if name != "revision"}
    if kind is Factor:
        about = _about(row["id"], row["user_id"], row["kind"])
        row["data"] = orjson.loads(sealing.open(row.pop("sealed"), about))
    return kind.from_row(row)


def _about(factor_id: str, user_id: str, kind: str) -> str:
    return f"factor\0{factor_id}\0{user_id}\0{kind}"
