"""What counts as use of a session: work, not polling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from gateway.gate.request import RequestHead
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


@dataclass(eq=False)
class Tunnel:
    """A live exchange that carried so many bytes from the browser."""

    request: RequestHead
    verdict: Forward
    request_bytes: int = 0


@pytest.mark.parametrize(("activity", "counts"), [("any", True), ("navigation", False)])
def test_what_a_browser_sends_through_a_tunnel_is_use_where_any_traffic_is(activity: str, counts: bool) -> None:
    world = World()
    world.put("app", APP.id, replace(APP, activity=activity))
    request = head(upgrade=True)
    verdict = world.judge(request)
    assert isinstance(verdict, Forward)
    tunnel, use = Tunnel(request, verdict), SessionUse()

    use.tunnelled([tunnel], NOW)
    assert use.take() == {}, "nothing came"
    tunnel.request_bytes = 6
    use.tunnelled([tunnel], NOW + 4)
    assert use.take() == ({"s1": NOW + 4} if counts else {})
    use.tunnelled([tunnel], NOW + 8)
    assert use.take() == {}, "nothing more came"
