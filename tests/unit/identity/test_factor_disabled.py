"""A factor is switched off at the settings' number of failures, once, with a record, and counts no more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.identity import lockout
from gateway.identity.context import ControlContext, Source
from gateway.state.records import Factor
from tests.support.gate_world import USER

FACTOR = Factor("f-1", USER.id, "totp", "認証アプリ", {"secret": "kept-to-itself"}, 0.0, None)
SOURCE = Source("192.0.2.1", "internet", "test", None, "0" * 16)


@pytest.mark.promise("P1.factor-off-after-twenty")
@pytest.mark.parametrize(("failures", "off"), [(19, False), (20, True), (21, True)])
def test_a_factor_is_switched_off_at_the_limit(failures: int, off: bool) -> None:
    kept: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []

    async def call(op: str, **args: Any) -> dict[str, Any]:
        if op == "factor.put":
            kept.append(args["factor"])
        return {"count": failures, "wait_until": None}

    async def record(event: dict[str, Any]) -> None:
        records.append(event)

    context = SimpleNamespace(
        steward=SimpleNamespace(call=call), journal=SimpleNamespace(record=record), clock=lambda: 5.0,
        settings=SimpleNamespace(sign_in=SimpleNamespace(disable_after=20)),
    )  # fmt: skip
    asyncio.run(lockout.count_failure(cast("ControlContext", context), "user:u1", USER, FACTOR, SOURCE))
    assert [lockout.is_disabled(Factor.from_row(row)) for row in kept] == [True] * off
    assert [event["event.action"] for event in records] == ["factor.disabled"] * off
    assert "kept-to-itself" not in str(records)
