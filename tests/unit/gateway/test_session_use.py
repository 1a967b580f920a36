"""What counts as use of a session: work, not polling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.gate.verdict import Forward
from gateway.session_use import SessionUse
from tests.support.gate_world import APP, NOW, World, head


@pytest.mark.parametrize(
    ("activity", "mode", "counts"),
    [
        ("navigation", "navigate", True), ("navigation", "cors", False), ("navigation", "websocket", False),
        ("navigation", None, True), ("any", "cors", True), ("any", None, True),
    ],
)  # fmt: skip
def test_polling_is_no_use_unless_the_app_says_so(activity: str, mode: str | None, counts: bool) -> None:
    world = World()
    world.put("app", APP.id, replace(APP, activity=activity))
    request = head() if mode is None else head(Sec_Fetch_Mode=mode)
    verdict = world.judge(request)
    assert isinstance(verdict, Forward)
    use = SessionUse()

    use.forwarded(request, verdict, NOW)

    assert use.take() == ({"s1": NOW} if counts else {})
    assert use.take() == {}
