"""What a command to the steward is, for those who send one and for those who carry it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.state.arguments import Arguments
    from gateway.state.transaction import Transaction


class CommandRefused(Exception):
    """The steward understood and said no. `code` is stable; `message` is for logs and operators (no secrets)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class StewardUnavailable(Exception):
    """No answer from the steward: not reachable, connection lost, or too late. The outcome may be unknown."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that commands obey. Times in seconds."""

    absolute: float
    idle: float
    concurrent: int
    code_lifetime: float
    wait_after: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command may know besides the store: the time (seconds since the epoch, never runs back) and the rules."""

    now: float
    rules: Rules


@dataclass(slots=True)
class Draft:
    """A receipt before the workers answered: who asked, why, what was named, which sessions ended."""

    kind: str
    who: str
    why: str
    targets: tuple[str, ...]
    sessions: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """What a command did. `records` go to the journal before the answer; a `refusal` is answered after the commit."""

    result: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    draft: Draft | None = None
    refusal: CommandRefused | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One operation: `run` works inside a transaction and raises `CommandRefused` to undo it.

    `seen`: answered only when every worker has applied it. `urgent`: takes rights away, so it goes before everything
    else and happens even while the journal is unhealthy; every other command is refused then. `unrecorded` ones change
    nothing that anybody may do, and need no journal.
    """

    run: Callable[[Transaction, Arguments, Surroundings], Outcome]
    seen: bool = False
    urgent: bool = False
    unrecorded: bool = False
