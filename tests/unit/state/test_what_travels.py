"""What the steward tells the workers is what the gate reads."""

from __future__ import annotations

from dataclasses import replace

from gateway.gate.verdict import Forward
from gateway.state.changes import Change
from gateway.state.tables import to_wire
from gateway.state.view import View
from tests.support.gate_world import SESSION, World, head

BROWSER = "Mozilla/5.0 (Windows NT 10.0) 市役所"


def test_the_browser_of_the_sign_in_reaches_the_gate_so_that_only_another_one_is_recorded() -> None:
    world = World()
    world.view.apply([to_wire(("session", SESSION.id, replace(SESSION, user_agent=BROWSER)))], Change(2))
    same, other = world.judge(head(user_agent=BROWSER)), world.judge(head(user_agent="curl/8.0"))
    assert isinstance(same, Forward)
    assert isinstance(other, Forward)
    assert "user_agent.original" not in same.record
    assert other.record["user_agent.original"] == "curl/8.0"


def test_a_row_that_is_gone_travels_as_nothing() -> None:
    assert to_wire(("session", "s1", None)) == ("session", "s1", None)
    assert not View().apply([], Change(1)).sessions
