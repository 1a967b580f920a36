"""What the steward knows when it starts: the store's content as feed tables, and the versions of the policy."""

from __future__ import annotations

import asyncio
from typing import Any

import sqlalchemy as sa

from gateway.state import schema
from gateway.state.command import CommandRefused
from gateway.state.records import (
    App,
    AppSession,
    Device,
    Lock,
    PolicyState,
    PolicyVersion,
    RevocationList,
    RevokedSerials,
    Row,
    Session,
    User,
)
from gateway.state.store import Reader
from gateway.state.tables import ActivePolicy, FeedChange, Page, Tables
from gateway.state.transaction import Transaction
from gateway.state.view import ENDED_KEPT
from policies.load import PolicyFaults, load_policy


class StoredPolicies:
    """Versions as validated data. Loading runs in a thread of its own: it is slow, and the heartbeat must go on."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def ir(self, policy_hash: str) -> dict[str, Any]:
        """The validated form of a stored version. Raises `CommandRefused`."""
        version = await asyncio.to_thread(self._reader.policy, policy_hash)
        if version is None:
            raise CommandRefused("unknown_policy", "no such version")
        return await asyncio.to_thread(_load, version.source, version.title)

    async def check(self, source: str, title: str) -> None:
        """Refuse a source that does not load or whose own tests fail."""
        await asyncio.to_thread(_load, source, title)


def _load(source: str, title: str) -> dict[str, Any]:
    try:
        wire: dict[str, Any] = load_policy(source.encode(), title or "policy").to_wire()
    except PolicyFaults as faults:
        raise CommandRefused("policy_faults", str(faults)) from None
    return wire


def load_tables(tx: Transaction, revision: int, now: float) -> Tables:
    """Everything that workers may know, but for the policy. Ended sessions only while their cookies may turn up."""
    tables = Tables()
    changes: list[FeedChange] = []
    kinds: tuple[tuple[str, type[Row]], ...] = (
        ("user", User), ("device", Device), ("app", App), ("lock", Lock), ("crl", RevocationList),
        ("revoked", RevokedSerials),
    )  # fmt: skip
    for table, kind in kinds:
        changes += [(table, getattr(row, "id"), row) for row in tx.find(kind)]  # noqa: B009 (each of these has an id)
    query = sa.select(schema.pages.c.name, schema.pages.c.body)
    changes += [("page", row.name, Page(row.name, row.body)) for row in tx.connection.execute(query)]
    sessions = _sessions(tx, now)
    changes += [("session", session.id, session) for session in sessions]
    children = tx.find(AppSession, session_id=[session.id for session in sessions])
    changes += [("app_session", child.token_hash, child) for child in children]
    tables.apply(revision, changes)
    return tables


def active_policy(tx: Transaction) -> PolicyVersion | None:
    """The version in force."""
    found = tx.find(PolicyVersion, state=PolicyState.ACTIVE.value)
    return found[0] if found else None


def policy_row(version: PolicyVersion) -> ActivePolicy:
    """The version as the feed tells it. Raises `CommandRefused` when this program does not load it any more."""
    return ActivePolicy(version.hash, version.title, _load(version.source, version.title))


def _sessions(tx: Transaction, now: float) -> list[Session]:
    table = schema.sessions
    alive = tx.find(Session, ended_at=None)
    query = sa.select(table.c.id).where(table.c.ended_at.is_not(None), table.c.expires_at > now)
    recent = list(tx.connection.execute(query.order_by(table.c.ended_at.desc()).limit(ENDED_KEPT)).scalars())
    ended = sorted(tx.find(Session, id=recent), key=lambda session: session.ended_at or 0.0)
    return alive + ended
