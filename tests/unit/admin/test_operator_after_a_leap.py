"""The operator who has to accept a leap of the clock is let in while it stands; nobody whose time is over is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.admin.guard import Guard
from gateway.admin.problem import Problem
from gateway.identity.context import ControlContext
from gateway.state.records import Session
from gateway.state.steward_client import StewardUnavailable
from tests.unit.admin.test_locks_on_operators import NOW, People, session

YEAR = 365 * 86_400.0


class Reader(People):
    """One operator session by its token."""

    def session_by_token(self, _digest: str) -> Session | None:
        return replace(session("ciso"), acr="urn:sekisho:aal2")

    def locks(self) -> list[Any]:
        return []


class Steward:
    """Tells its time, or is away."""

    def __init__(self, now: float | None) -> None:
        self.now = now

    async def call(self, _op: str) -> dict[str, Any]:
        if self.now is None:
            raise StewardUnavailable
        return {"clock": {"now": self.now, "jumped": True, "leap": YEAR}}


def let_in(wall: float, believed: float | None) -> str:
    context = SimpleNamespace(reader=Reader(), steward=Steward(believed), clock=lambda: wall)
    request = SimpleNamespace(headers={"Authorization": "Bearer token"})
    guard = Guard(cast("ControlContext", context))
    return asyncio.run(guard._operator(cast("Any", request), wall)).user.login


def test_regression_operator_is_let_in_after_a_leap_of_a_year() -> None:
    assert let_in(NOW + YEAR, believed=NOW + 10) == "ciso"


def test_time_that_is_over_by_the_stewards_clock_too_is_over() -> None:
    with pytest.raises(Problem):
        let_in(NOW + YEAR, believed=NOW + YEAR)


def test_without_the_steward_nobody_whose_time_seems_over_is_let_in() -> None:
    with pytest.raises(Problem):
        let_in(NOW + YEAR, believed=None)
