"""What one admin command is: its name, address, roles, arguments and handler.

The table of all endpoints (`gateway.admin.endpoints`) is the whole surface: the guard takes role and record from it,
and the tests make their matrix from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from gateway.admin.problem import AdminReason, Problem
from gateway.identity.context import ControlContext
from gateway.state.records import Session, User

_LONG = 200  # characters; longer arguments are recorded by digest
_LISTED = 50  # items of a list that are recorded in full


class Role(StrEnum):
    """Roles of operators: CISO, 監査 and 運用."""

    CISO = "ciso"
    AUDIT = "audit"
    OPERATOR = "operator"


EVERYONE = frozenset(Role)
READERS = frozenset({Role.CISO, Role.AUDIT})
CHANGERS = frozenset({Role.CISO, Role.OPERATOR})
CISO_ONLY = frozenset({Role.CISO})
BEFORE_SIGN_IN: frozenset[Role] = frozenset()


class Arguments(BaseModel):
    """Arguments of a command: path, query and body in one. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def recorded(self) -> dict[str, Any]:
        """The normalised arguments as they go into the record: no secret, long texts by digest."""
        return {name: _recorded(getattr(self, name)) for name in type(self).model_fields if name not in _APART}


_APART = ("reason", "ticket")  # recorded in fields of their own


class Justified(Arguments):
    """Arguments of a command that needs a reason. `dry_run` answers with the plan and does nothing."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    ticket: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] = ""
    dry_run: bool = False


class Change(Justified):
    """Arguments of a command that changes something."""


class Listing(Arguments):
    """Arguments of a command that lists."""

    limit: Annotated[int, Field(ge=1, le=100_000)] = 1000


def _recorded(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, str) and len(value) > _LONG:
        return f"sha256:{hashlib.sha256(value.encode()).hexdigest()} ({len(value)} characters)"
    if isinstance(value, (list, tuple)):
        rest = [f"… {len(value)} items"] if len(value) > _LISTED else []
        return [_recorded(item) for item in value[:_LISTED]] + rest
    return value


@dataclass(frozen=True, slots=True)
class Operator:
    """The person who gave the command, as their token and the store tell."""

    user: User
    session: Session
    roles: frozenset[Role]


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


@dataclass(frozen=True, slots=True)
class Call(Generic[ArgumentsT]):
    """One command under way. `now` is its time (epoch seconds); `request_id` its 受付番号."""

    context: ControlContext
    caller: Operator | None
    arguments: ArgumentsT
    request_id: str
    now: float

    @property
    def operator(self) -> Operator:
        """The signed-in operator; raises Problem where the command came without one."""
        if self.caller is None:
            raise Problem(AdminReason.SIGN_IN_REQUIRED, "サインインしてください (sekisho login)。")
        return self.caller

    @property
    def by(self) -> str:
        """The 職員ID of the operator, as stored with what they change."""
        return self.operator.user.login


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON answer. `rows` is the number of rows returned, for the record."""

    data: Mapping[str, Any]
    rows: int = 0
    status: int = 200


@dataclass(frozen=True, slots=True)
class Stream:
    """An NDJSON answer, one JSON text a line."""

    lines: AsyncGenerator[bytes]


Handler = Callable[[Call[ArgumentsT]], Awaitable[Reply | Stream]]


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[ArgumentsT]):
    """One command of the API. `roles` empty = before sign-in."""

    command: str
    method: str
    path: str
    roles: frozenset[Role]
    arguments: type[ArgumentsT]
    handler: Handler[ArgumentsT]

    @property
    def changes(self) -> bool:
        """Whether the command changes something (and so needs a reason)."""
        return issubclass(self.arguments, Change)


def listed(rows: list[dict[str, Any]], limit: int, key: str = "items") -> Reply:
    """A list answer: at most `limit` rows, and how many there are."""
    shown = rows[:limit]
    return Reply({key: shown, "total": len(rows)}, rows=len(shown))
