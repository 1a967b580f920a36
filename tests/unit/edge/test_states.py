"""Every (state, event) pair of the client connection: allowed as the table says, or refused."""

from __future__ import annotations

import itertools

import pytest

from gateway.edge.states import TRANSITIONS, Event, IllegalTransition, State, step


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_each_pair(state: State, event: Event) -> None:
    """A pair in the table leads where it says; any other raises."""
    following = TRANSITIONS[state].get(event)
    if following is None:
        with pytest.raises(IllegalTransition):
            step(state, event)
    else:
        assert step(state, event) is following


@pytest.mark.promise("P2.written-before-app")
def test_only_a_kept_record_leads_towards_the_app() -> None:
    """CONNECTING and RELAYING are reached through RECORDING and KEPT_PASSED only."""
    into = {(state, event) for state, row in TRANSITIONS.items() for event, to in row.items() if to is State.CONNECTING}

    assert into == {(State.RECORDING, Event.KEPT_PASSED), (State.RELAYING, Event.RETRY)}
    into = {(state, event) for state, row in TRANSITIONS.items() for event, to in row.items() if to is State.RELAYING}
    assert into == {(State.CONNECTING, Event.CONNECTED)}


def test_every_state_can_be_cut_and_lost() -> None:
    """Nothing keeps a connection alive against a cut."""
    assert all(TRANSITIONS[state][event] is State.CLOSED for state in State for event in (Event.CUT, Event.LOST))
