"""Everything restarted under a clock that is an hour or a year off: nothing is extended, nothing comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.checkpoint import read_verifier
from audit.verify import verify_journals
from tests.support.other_clock import MODULE, set_clock
from tests.support.running_city import RunningCity, running_city

JSON = {"Accept": "application/json"}
AHEAD = ("+1h", "+365d")
STALE = (503, "state_stale")


async def ask(city: RunningCity, token: str = "") -> tuple[int, str]:
    """Ask once on a new connection; return status and, of refusals, the reason."""
    headers = JSON | ({"Cookie": f"__Host-sekisho-app={token}"} if token else {})
    async with city.client() as client, client.get("/now", headers=headers) as answer:
        return (200, "") if answer.status == 200 else (answer.status, (await answer.json(content_type=None))["reason"])


async def until(city: RunningCity, wanted: tuple[int, str]) -> None:
    async with asyncio.timeout(20):
        while await ask(city) != wanted:  # noqa: ASYNC110 (the answer is all there is to look at)
            await asyncio.sleep(0.1)


async def now(city: RunningCity) -> float:
    """The steward's time."""
    return float((await city.steward.call("status"))["clock"]["now"])


async def restarted(city: RunningCity, offset: str, over: list[str]) -> None:
    """All processes killed, and started with steward, control and auditor under another clock; then it is set right."""
    before = await now(city)
    brief = await city.sign_in(f"brief{offset}", expires_at=before + 10)
    await city.kill_all()
    set_clock(city.root, offset)
    await city.supervise()
    assert before <= await now(city) < before + 120
    if offset in AHEAD:
        await until(city, STALE)
        assert {await ask(city, token) for token in (*over, brief)} == {STALE}
    set_clock(city.root, "+0")
    await until(city, (200, ""))
    async with asyncio.timeout(30):
        while await now(city) < before + 11:  # noqa: ASYNC110 (a clock has no event)
            await asyncio.sleep(0.2)
    over.append(brief)
    assert {status for status, _ in [await ask(city, token) for token in over]} == {401}
    assert before <= await now(city) < before + 120


@pytest.mark.timeout(600)
@pytest.mark.one_stack
@pytest.mark.promise("P1.clock-holds-over-restarts")
def test_a_restart_under_another_clock_extends_and_revives_nothing(
    tmp_path: Path, requires_faketime: Path, figure: Callable[[str], None]
) -> None:
    del requires_faketime

    async def run() -> Path:
        async with running_city(tmp_path, module=MODULE, OTHER_CLOCK="control too") as city:
            await city.furnish()
            revoked = await city.sign_in("revoked")
            await city.steward.call(
                "session.end", selector={"user": "revoked"}, reason="session_revoked", message="", by="ciso", why="x"
            )
            over = [revoked]
            for offset in ("-1h", "-365d", *AHEAD):
                await restarted(city, offset, over)
            figure(f"4 restarts under another clock; {len(over)} sessions that were over stayed over")
            return city.root

    root = asyncio.run(run())
    key = read_verifier((root / "keys" / "checkpoint.pub").read_text())
    verify_journals(root / "journal", root / "log", key)
