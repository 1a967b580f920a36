"""One write transaction: what commands may do to the store. Statements here run on SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from gateway.state import schema
from gateway.state.codec import from_columns, to_columns
from gateway.state.records import AppSession, Row
from gateway.state.sealing import Sealing

RecordT = TypeVar("RecordT", bound=Row)

_STRANGERS_KEPT = 86_400.0  # seconds that failures of accounts that do not exist are remembered
_MANY = 1000  # values of one IN list

FEED_TABLES: dict[str, str] = {  # store table → name in the feed
    "users": "user", "sessions": "session", "app_sessions": "app_session", "devices": "device", "apps": "app",
    "locks": "lock", "revocation_lists": "crl", "revoked_serials": "revoked",
}  # fmt: skip


@dataclass(slots=True)
class Transaction:
    """Reads and writes of one command. `changed` collects what the feed has to tell: (feed table, key, record)."""

    connection: sa.Connection
    sealing: Sealing
    revision: int  # the number that this transaction's changes will carry
    changed: list[tuple[str, str, Row | None]] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)

    # -- records --------------------------------------------------------------------------------------------------

    def get(self, kind: type[RecordT], key: str) -> RecordT | None:
        """The record with this key, or None."""
        table = schema.RECORD_TABLES[kind]
        row = self.connection.execute(sa.select(table).where(_key(table) == key)).mappings().one_or_none()
        return None if row is None else from_columns(kind, dict(row), self.sealing)

    def find(self, kind: type[RecordT], **equal: Any) -> list[RecordT]:
        """All records whose columns equal the given values (None: is null; one list or set value: any of them)."""
        for name, value in equal.items():
            if isinstance(value, list | tuple | set | frozenset):
                values, rest = sorted(value), {other: equal[other] for other in equal if other != name}
                groups = (values[start : start + _MANY] for start in range(0, len(values), _MANY))
                return [found for group in groups for found in self._find(kind, rest, (name, group))]
        return self._find(kind, equal, None)

    def _find(
        self, kind: type[RecordT], equal: Mapping[str, Any], among: tuple[str, list[Any]] | None
    ) -> list[RecordT]:
        table = schema.RECORD_TABLES[kind]
        query = sa.select(table).order_by(_key(table))
        for name, value in equal.items():
            query = query.where(table.c[name].is_(None) if value is None else table.c[name] == value)
        if among is not None:
            query = query.where(table.c[among[0]].in_(among[1]))
        return [from_columns(kind, dict(row), self.sealing) for row in self.connection.execute(query).mappings()]

    def put(self, record: Row) -> None:
        """Insert or replace a record under this transaction's revision."""
        table = schema.RECORD_TABLES[type(record)]
        columns = self._columns(record)
        updated = self.connection.execute(sa.update(table).where(_key(table) == columns[_key(table).name]), columns)
        if updated.rowcount == 0:
            self.connection.execute(sa.insert(table).values(columns))
        self._note(record, gone=False)

    def change(self, records: Sequence[Row]) -> None:
        """Replace many records of one kind that are all in the store: one prepared statement."""
        if not records:
            return
        table = schema.RECORD_TABLES[type(records[0])]
        key = _key(table)
        rows = [self._columns(record) for record in records]
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in rows[0]}
        statement = sa.update(table).where(key == sa.bindparam(f"new_{key.name}")).values(values)
        self.connection.execute(statement, [{f"new_{name}": value for name, value in row.items()} for row in rows])
        for record in records:
            self._note(record, gone=False)

    def remove(self, record: Row) -> None:
        """Delete a record. Only for what is no security act's history."""
        table = schema.RECORD_TABLES[type(record)]
        key = _key(table)
        self.connection.execute(sa.delete(table).where(key == getattr(record, key.name)))
        self._note(record, gone=True)

    def _columns(self, record: Row) -> dict[str, Any]:
        return to_columns(record, self.sealing) | {"revision": self.revision}

    def _note(self, record: Row, *, gone: bool) -> None:
        table = schema.RECORD_TABLES[type(record)]
        key: str = getattr(record, _key(table).name)
        self.touched.append(f"{table.name}:{key}")
        feed = FEED_TABLES.get(table.name)
        if feed is not None:
            name = record.token_hash if isinstance(record, AppSession) else key
            self.changed.append((feed, name, None if gone else record))

    def tell(self, table: str, key: str, record: Row | None) -> None:
        """Tell the workers of something that is kept in a plain row; takes a revision."""
        self.touched.append(f"{table}:{key}")
        self.changed.append((table, key, record))

    def set_last_used(self, session_id: str, at: float) -> None:
        """Move a live session's last use forwards: no change of its own in the feed, no revision."""
        table = schema.sessions
        self.connection.execute(
            sa.update(table)
            .where(table.c.id == session_id, table.c.ended_at.is_(None), table.c.last_used_at < at)
            .values(last_used_at=at)
        )

    # -- things worth something once ---------------------------------------------------------------------------------

    def use_once(self, key: str, expires_at: float) -> bool:
        """Take `key`; False when it was taken before. It stays taken until `expires_at` at least."""
        table = schema.used_codes
        if self.connection.execute(sa.select(table.c.key).where(table.c.key == key)).first() is not None:
            return False
        self.connection.execute(sa.insert(table).values(key=key, expires_at=expires_at))
        return True

    def expire(self, now: float) -> None:
        """Drop used keys, handoffs and failures of unknown accounts past their time."""
        for table in (schema.used_codes, schema.handoffs):
            self.connection.execute(sa.delete(table).where(table.c.expires_at <= now))
        strangers = schema.attempts
        old = sa.and_(strangers.c.account.startswith("unknown:"), strangers.c.last_at <= now - _STRANGERS_KEPT)
        self.connection.execute(sa.delete(strangers).where(old))

    # -- plain rows -----------------------------------------------------------------------------------------------

    def row(self, table: sa.Table, key: str) -> dict[str, Any] | None:
        """One row of a table that holds no record (attempts, handoffs, pages, receipts, marks)."""
        found = self.connection.execute(sa.select(table).where(_key(table) == key)).mappings().one_or_none()
        return None if found is None else dict(found)

    def put_row(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        """Insert or replace such a row."""
        key = values[_key(table).name]
        if self.connection.execute(sa.update(table).where(_key(table) == key).values(values)).rowcount == 0:
            self.connection.execute(sa.insert(table).values(values))

    def remove_row(self, table: sa.Table, key: str) -> bool:
        """Delete such a row; False when there was none."""
        return bool(self.connection.execute(sa.delete(table).where(_key(table) == key)).rowcount)


def _key(table: sa.Table) -> sa.Column[Any]:
    (column,) = table.primary_key.columns
    return column
