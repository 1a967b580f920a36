"""The durable store: one writer (the steward), any number of readers. SQLAlchemy Core over SQLite.

Every committed change has a revision, one higher than the last; `changes` names what each one touched. A commit
returns after fsync. `gateway.state.migration` makes a store and brings it to the current schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from gateway.state import schema
from gateway.state.codec import from_columns
from gateway.state.dialect import reader_engine, writer_engine
from gateway.state.records import (
    App,
    Approval,
    Device,
    Factor,
    Lock,
    PolicyVersion,
    RevocationList,
    RevokedSerials,
    Row,
    Session,
    User,
)
from gateway.state.sealing import Sealing
from gateway.state.transaction import Transaction

RecordT = TypeVar("RecordT", bound=Row)


class StoreOutdated(Exception):
    """The store's schema is not the one this program was made for."""


class Store:
    """The writer's side. One thread at a time; `gateway.state.writer` is that thread in the steward."""

    def __init__(self, path: Path, sealing: Sealing) -> None:
        """Open an existing store. Raises FileNotFoundError, `StoreOutdated`."""
        path.stat()
        self._engine = writer_engine(path)
        self._sealing = sealing
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(schema.alembic_version.c.version_num)).scalar()
            if found != schema.HEAD:
                raise StoreOutdated(f"{path}: schema {found}, expected {schema.HEAD}; run `sekisho state upgrade`")
            self._revision = connection.execute(sa.select(sa.func.max(schema.changes.c.revision))).scalar() or 0

    @property
    def revision(self) -> int:
        """The number of the last committed change."""
        return self._revision

    @contextmanager
    def transaction(self, op: str, now: float) -> Iterator[Transaction]:
        """One atomic, durable change: committed (fsync) at the end of the block, rolled back when it raises.

        The revision is taken only if a record was touched.
        """
        with self._engine.begin() as connection:
            tx = Transaction(connection, self._sealing, self._revision + 1)
            yield tx
            if tx.touched:
                connection.execute(
                    sa.insert(schema.changes).values(revision=tx.revision, at=now, op=op, touched=tx.touched)
                )
        if tx.touched:
            self._revision = tx.revision

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


class Reader:
    """Read-only access for control and admin; each call is one short transaction (≤ 1 ms on SQLite)."""

    def __init__(self, path: Path, sealing: Sealing) -> None:
        """Open an existing store. Raises FileNotFoundError."""
        path.stat()
        self._engine = reader_engine(path)
        self._sealing = sealing

    def user(self, user_id: str) -> User | None:
        """The person with this id."""
        return self._one(User, schema.users.c.id == user_id)

    def user_by_login(self, login: str) -> User | None:
        """The person with this 職員ID, as stored (the caller folds it)."""
        return self._one(User, schema.users.c.login == login)

    def users(self) -> list[User]:
        """Everybody, by login."""
        return self._all(User, order=schema.users.c.login)

    def factors(self, user_id: str) -> list[Factor]:
        """One person's factors, opened, oldest first. Raises `SealingFault`."""
        return self._all(Factor, schema.factors.c.user_id == user_id, order=schema.factors.c.created_at)

    def session(self, session_id: str) -> Session | None:
        """The session with this id, ended or not."""
        return self._one(Session, schema.sessions.c.id == session_id)

    def session_by_token(self, token_hash: str) -> Session | None:
        """The live session of this token (hex SHA-256); an ended one's token finds nothing."""
        table = schema.sessions
        return self._one(Session, table.c.token_hash == token_hash, table.c.ended_at.is_(None))

    def sessions(self, active: bool = True, user_id: str | None = None) -> list[Session]:
        """Sessions, newest first; `active` leaves out those that ended."""
        table = schema.sessions
        conditions: list[sa.ColumnElement[bool]] = [table.c.ended_at.is_(None)] if active else []
        if user_id is not None:
            conditions.append(table.c.user_id == user_id)
        return self._all(Session, *conditions, order=table.c.created_at.desc())

    def app_sessions(self, session_id: str) -> list[dict[str, Any]]:
        """App sessions of one session: `id`, `app_id`, `host`, `created_at`."""
        table = schema.app_sessions
        columns = (table.c.id, table.c.app_id, table.c.host, table.c.created_at)
        with self._engine.connect() as connection:
            query = sa.select(*columns).where(table.c.session_id == session_id).order_by(table.c.created_at)
            return [dict(row) for row in connection.execute(query).mappings()]

    def apps(self) -> list[App]:
        """Registered apps, pending ones too, by id."""
        return self._all(App, order=schema.apps.c.id)

    def app(self, app_id: str) -> App | None:
        """The app with this id."""
        return self._one(App, schema.apps.c.id == app_id)

    def locks(self) -> list[Lock]:
        """Standing locks, newest first."""
        return self._all(Lock, order=schema.locks.c.created_at.desc())

    def policies(self) -> list[PolicyVersion]:
        """Policy versions, newest first."""
        return self._all(PolicyVersion, order=schema.policies.c.created_at.desc())

    def policy(self, policy_hash: str) -> PolicyVersion | None:
        """The version with this hash."""
        return self._one(PolicyVersion, schema.policies.c.hash == policy_hash)

    def active_policy(self) -> PolicyVersion | None:
        """The version in force."""
        return self._one(PolicyVersion, schema.policies.c.state == "active")

    def approvals(self, pending: bool = False) -> list[Approval]:
        """Approvals, newest first; `pending` leaves out decided ones (expired ones stay: the caller knows the time)."""
        conditions: list[sa.ColumnElement[bool]] = [schema.approvals.c.decided_at.is_(None)] if pending else []
        return self._all(Approval, *conditions, order=schema.approvals.c.requested_at.desc())

    def devices(self) -> list[Device]:
        """Known devices, by name."""
        return self._all(Device, order=schema.devices.c.name)

    def device(self, device_id: str) -> Device | None:
        """The device with this id."""
        return self._one(Device, schema.devices.c.id == device_id)

    def device_by_uuid(self, uuid: str) -> Device | None:
        """The device whose certificate carries this name."""
        return self._one(Device, schema.devices.c.uuid == uuid)

    def revocation_lists(self) -> list[RevocationList]:
        """The certificate revocation lists in force, by the authority's name."""
        return self._all(RevocationList, order=schema.revocation_lists.c.authority)

    def revoked(self, authority: str) -> list[RevokedSerials]:
        """What one authority has revoked, by bucket."""
        table = schema.revoked_serials
        return self._all(RevokedSerials, table.c.authority == authority, order=table.c.id)

    def receipts(self, limit: int = 100) -> list[str]:
        """Signed receipts, newest first."""
        return self._receipts(sa.select(schema.receipts.c.text).order_by(schema.receipts.c.at.desc()).limit(limit))

    def receipt(self, receipt_id: str) -> str | None:
        """One signed receipt."""
        found = self._receipts(sa.select(schema.receipts.c.text).where(schema.receipts.c.id == receipt_id))
        return found[0] if found else None

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _receipts(self, query: sa.Select[str]) -> list[str]:
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def _one(self, kind: type[RecordT], *conditions: sa.ColumnElement[bool]) -> RecordT | None:
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(schema.RECORD_TABLES[kind]).where(*conditions)).mappings().one_or_none()
        return None if row is None else from_columns(kind, dict(row), self._sealing)

    def _all(
        self, kind: type[RecordT], *conditions: sa.ColumnElement[bool], order: sa.ColumnElement[Any]
    ) -> list[RecordT]:
        with self._engine.connect() as connection:
            query = sa.select(schema.RECORD_TABLES[kind]).where(*conditions).order_by(order)
            return [from_columns(kind, dict(row), self._sealing) for row in connection.execute(query).mappings()]
