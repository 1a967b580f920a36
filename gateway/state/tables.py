"""The steward's own copy of everything that the feed tells: what a new worker's snapshot is made of.

Kept equal to the store by applying each committed change. Rows are frozen, so a snapshot is a list of references
taken at one revision, told in slices while later changes queue behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.state.changes import RowChange
from gateway.state.records import AppSession, Row, Session

FeedChange = tuple[str, str, Row | None]

_ORDER = ("user", "device", "crl", "revoked", "app", "policy", "page", "session", "app_session", "lock")


@dataclass(frozen=True, slots=True)
class Page(Row):
    """One rendered piece of a page."""

    name: str
    body: str


@dataclass(frozen=True, slots=True)
class ActivePolicy(Row):
    """The policy in force, as validated data (`PolicyIR.to_wire`)."""

    hash: str
    title: str
    ir: dict[str, Any]


class Tables:
    """Feed table → key → record. Sessions that ended stay until their absolute limit, so that workers can say why."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {name: {} for name in _ORDER}
        self.revision = 0
        self._app_tokens: dict[str, set[str]] = {}  # session id → keys of its app sessions
        self._portal_tokens: dict[str, str] = {}  # token hash → id of a live session

    def apply(self, revision: int, changes: Iterable[FeedChange]) -> None:
        """Take one committed change."""
        for table, key, record in changes:
            if table == "policy":
                self.rows[table].clear()  # one is in force
            old = self.rows[table].pop(key, None)
            if isinstance(old, AppSession):
                self._app_tokens[old.session_id].discard(key)
            elif isinstance(old, Session):
                self._portal_tokens.pop(old.token_hash, None)
            if record is not None:
                self.rows[table][key] = record
            if isinstance(record, Session) and record.ended_at is None:
                self._portal_tokens[record.token_hash] = key
            if isinstance(record, AppSession):
                self._app_tokens.setdefault(record.session_id, set()).add(key)
        self.revision = revision

    def snapshot(self) -> list[FeedChange]:
        """Everything, sessions before their app sessions."""
        return [(table, key, record) for table in _ORDER for key, record in self.rows[table].items()]

    def forget_session(self, session_id: str) -> None:
        """Drop an ended session and its app sessions, past the absolute limit. Workers bound theirs by themselves."""
        for key in self._app_tokens.pop(session_id, set()):
            self.rows["app_session"].pop(key, None)
        self.rows["session"].pop(session_id, None)

    def sessions(self) -> list[Session]:
        """All sessions held here, ended ones too."""
        return [row for row in self.rows["session"].values() if isinstance(row, Session)]

    def knows_token(self, token_hash: str) -> bool:
        """Whether this is the token of a live app session, or of a live session."""
        child = self.rows["app_session"].get(token_hash)
        if isinstance(child, AppSession):
            parent = self.rows["session"].get(child.session_id)
            return isinstance(parent, Session) and parent.ended_at is None
        return token_hash in self._portal_tokens


def to_wire(change: FeedChange) -> RowChange:
    """The change as it travels."""
    table, key, record = change
    return table, key, None if record is None else record.to_row()
