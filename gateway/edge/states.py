"""The one state machine of the request path: the client connection.

Rule 1: a connection leaves `RECORDING` towards the app only by `KEPT_PASSED`: the decision is recorded first (P2).
Rule 2: every state ends by `CUT` and `LOST`; nothing leaves `CLOSED`.
Rule 3: one request at a time; what a client pipelines waits as bytes, unparsed, until `IDLE` comes back.
Rule 4: a pair that is not in the table is a defect: `IllegalTransition` is raised and the connection is reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class State(IntEnum):
    """Where one client connection stands."""

    IDLE = 0  # no byte of a request yet
    HEAD = 1  # part of a head
    RESOLVING = 2  # the steward is asked for a token
    RECORDING = 3  # judged; the journal is keeping the decision
    CONNECTING = 4  # waiting for an upstream connection
    RELAYING = 5  # both bodies
    TUNNEL = 6  # after 101
    DRAINING = 7  # answered and closing; what still arrives is thrown away
    CLOSED = 8  # over; nothing leads out of it


class Event(IntEnum):
    """What may happen to it."""

    PARTIAL = 0  # bytes, but no whole head
    JUDGED = 1  # a head was judged, its record goes to the journal
    UNKNOWN = 2  # the verdict waits for the steward
    FAULT = 3  # a message that is refused unparsed, or timed out while being sent
    KEPT_PASSED = 4  # recorded: the request goes on
    KEPT_ANSWERED = 5  # recorded: we answer, the connection stays
    CLOSING = 6  # an answer was written that ends the connection
    CONNECTED = 7  # an upstream connection is ours
    RETRY = 8  # a pooled connection was stale: once more
    FAILED = 9  # the app did not answer: we do, the connection stays
    FINISHED = 10  # the app's answer was relayed, the connection stays
    SWITCHED = 11  # 101
    CUT = 12  # revoked, or broken beyond an answer: reset
    LOST = 13  # the client's end is gone


class IllegalTransition(Exception):
    """An event that the table does not allow in this state."""


# Plain names for the request path: reaching a member through its class costs 0.1 µs on Python 3.11.
IDLE, HEAD, RESOLVING, RECORDING, CONNECTING, RELAYING, TUNNEL, DRAINING, CLOSED = State
(
    PARTIAL,
    JUDGED,
    UNKNOWN,
    FAULT,
    KEPT_PASSED,
    KEPT_ANSWERED,
    CLOSING,
    CONNECTED,
    RETRY,
    FAILED,
    FINISHED,
    SWITCHED,
    CUT,
    LOST,
) = Event

_ENDS: Final = {Event.CUT: State.CLOSED, Event.LOST: State.CLOSED}

TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = MappingProxyType(
    {
        State.IDLE: {
            Event.PARTIAL: State.HEAD,
            Event.JUDGED: State.RECORDING,
            Event.UNKNOWN: State.RESOLVING,
            Event.FAULT: State.RECORDING,
            Event.CLOSING: State.DRAINING,
            **_ENDS,
        },
        State.HEAD: {
            Event.PARTIAL: State.HEAD,
            Event.JUDGED: State.RECORDING,
            Event.UNKNOWN: State.RESOLVING,
            Event.FAULT: State.RECORDING,
            Event.CLOSING: State.DRAINING,
            **_ENDS,
        },
        State.RESOLVING: {Event.JUDGED: State.RECORDING, **_ENDS},
        State.RECORDING: {
            Event.KEPT_PASSED: State.CONNECTING,
            Event.KEPT_ANSWERED: State.IDLE,
            Event.CLOSING: State.DRAINING,
            **_ENDS,
        },
        State.CONNECTING: {
            Event.CONNECTED: State.RELAYING,
            Event.FAILED: State.IDLE,
            Event.CLOSING: State.DRAINING,
            **_ENDS,
        },
        State.RELAYING: {
            Event.RETRY: State.CONNECTING,
            Event.FAILED: State.IDLE,
            Event.FINISHED: State.IDLE,
            Event.SWITCHED: State.TUNNEL,
            Event.CLOSING: State.DRAINING,
            **_ENDS,
        },
        State.TUNNEL: {Event.CLOSING: State.DRAINING, **_ENDS},
        State.DRAINING: dict(_ENDS),
        State.CLOSED: {Event.CUT: State.CLOSED, Event.LOST: State.CLOSED},
    }
)


class _After(dict[State, State]):
    """One column of the table: the state after one event, by the state before it."""

    def __init__(self, event: Event) -> None:
        super().__init__({state: row[event] for state, row in TRANSITIONS.items() if event in row})
        self._event = event

    def __missing__(self, state: State) -> State:
        raise IllegalTransition(f"{self._event.name} in {state.name}")


# For the request path: one look-up in place of a call and two. Raise IllegalTransition as `step` does.
AFTER_JUDGED: Final = _After(Event.JUDGED)
AFTER_KEPT_PASSED: Final = _After(Event.KEPT_PASSED)
AFTER_CONNECTED: Final = _After(Event.CONNECTED)
AFTER_FINISHED: Final = _After(Event.FINISHED)


def step(state: State, event: Event) -> State:
    """Return the state after `event`; raises IllegalTransition where the table has no such pair."""
    following = TRANSITIONS[state].get(event)
    if following is None:
        raise IllegalTransition(f"{event.name} in {state.name}")
    return following
