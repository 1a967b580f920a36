"""A token at work does not go idle, and a stream ends with its token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from gateway.admin import guard
from gateway.admin.operator_use import OperatorUse
from gateway.admin.problem import AdminReason, Problem
from gateway.state.command import StewardUnavailable
from gateway.state.records import Session
from gateway.state.steward_client import StewardClient

SESSION = cast("Session", SimpleNamespace(id="s-1"))


class Steward:
    """Takes reports; may be away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away, self.reports = away, list[dict[str, float]]()

    async def call(self, op: str, **args: Any) -> dict[str, Any]:
        assert op == "session.used"
        if self.away:
            raise StewardUnavailable("away")
        self.reports.append(args["used"])
        return {}


@pytest.mark.promise("P1.operator-token-in-use")
def test_use_is_reported_at_most_each_five_seconds() -> None:
    async def go(steward: Steward) -> None:
        use = OperatorUse(cast("StewardClient", steward))
        for now in (100.0, 101.0, 104.9, 105.0):
            use.note(SESSION, now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    steward = Steward()
    asyncio.run(go(steward))
    assert steward.reports == [{"s-1": 100.0}, {"s-1": 105.0}]
    asyncio.run(go(Steward(away=True)))  # nothing is raised: the command meets it itself


@pytest.mark.promise("P1.operator-stream-ends-with-token")
def test_a_silent_stream_ends_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_LOOK_EVERY", 0.01)
    looks: list[int] = []

    async def lines() -> AsyncGenerator[bytes]:
        yield b"{}\n"
        await asyncio.Event().wait()

    def look() -> None:
        looks.append(1)
        if len(looks) > 3:
            raise Problem(AdminReason.SIGN_IN_REQUIRED, "over")

    async def go() -> list[bytes]:
        request = SimpleNamespace(transport=SimpleNamespace(is_closing=lambda: False))
        seen: list[bytes] = []
        following = guard._while_read(cast("web.Request", request), lines(), look)
        seen.append(await anext(following))
        with pytest.raises(Problem):
            await anext(following)
        return seen

    assert asyncio.run(go()) == [b"{}\n"]
