"""One thing that was looked at: how it stands, what was found, what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """How something stands."""

    GOOD = "good"
    NOTE = "note"  # works, but somebody should know
    FAULT = "fault"  # does not work, or is not safe


class Told(NamedTuple):
    """The same in both languages."""

    ja: str
    en: str


NOTHING: Final = Told("", "")


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is a name that never changes: scripts may rely on it."""

    check: str
    state: State
    found: Told
    remedy: Told = NOTHING


def good(check: str, ja: str, en: str) -> Finding:
    """Return that all is well with `check`."""
    return Finding(check, State.GOOD, Told(ja, en))


def note(check: str, found: Told, remedy: Told) -> Finding:
    """Return what somebody should know."""
    return Finding(check, State.NOTE, found, remedy)


def fault(check: str, found: Told, remedy: Told) -> Finding:
    """Return what does not work, or is not safe."""
    return Finding(check, State.FAULT, found, remedy)
