"""Detection in the running system: what an attacker with curl does becomes a case within seconds, and only one."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cli.client import AdminClient
from cli.failure import Failure
from tests.support.operator import ask, operator, tell
from tests.support.real_parts import program
from tests.support.running_city import HOST, RunningCity, running_city

WITHIN = 60.0  # seconds: the machine may be busy


async def curl(city: RunningCity, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(program("curl")), "-s", "-o", os.devnull, "-H", f"Host: {HOST}", *arguments
    )
    async with asyncio.timeout(30):
        await process.wait()


async def cases_of(client: AdminClient, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until there are `count` cases with a finding of this kind."""
    until = time.monotonic() + WITHIN
    while True:
        rows = (await ask(client, "/v1/anomalies", all="true"))["items"]
        found = [row for row in rows if kind in row["kinds"]]
        if len(found) >= count or time.monotonic() > until:
            return found
        await asyncio.sleep(0.1)  # cases announce themselves in the journal only


async def burst(city: RunningCity, ciso: AdminClient) -> str:
    await curl(city, f"{city.base}/secret/[1-50]")
    (case,) = await cases_of(ciso, "refusals_of_address")
    assert case["state"] == "open"
    shown = await ask(ciso, f"/v1/anomalies/{case['id']}")
    assert "127.0.0.1" in shown["message"]
    assert shown["command"].startswith("sekisho events search source.ip=127.0.0.1")
    assert {record["sekisho.reason"] for record in shown["evidence"]} == {"sign_in_required"}
    name = shown["evidence"][0]["event.id"]
    assert (await ask(ciso, f"/v1/events/{name}"))["items"] == [shown["evidence"][0]]
    (alert,) = [record for record in city.records("auditor") if record["event.action"] == "case.opened"]
    assert (alert["event.kind"], alert["event.dataset"]) == ("alert", "sekisho.anomaly")
    assert alert["sekisho.case.id"] == case["id"]
    return str(case["id"])


async def use_after_revocation(city: RunningCity, ciso: AdminClient) -> None:
    await tell(ciso, "/v1/sessions/revoke", sessions=["s1"], reason="紛失")
    await curl(city, "-H", f"Cookie: __Host-sekisho-app={city.token}", f"{city.base}/list")
    (case,) = await cases_of(ciso, "ended_session_used")
    assert "管理者による終了" in case["message"]
    assert case["command"].startswith("sekisho locks add --user s0001 ")
    shown = await ask(ciso, f"/v1/anomalies/{case['id']}")
    assert shown["evidence"][0]["sekisho.session.id"] == "s1"


def auditor(city: RunningCity) -> dict[str, Any]:
    return next(each for each in city.status["processes"] if each["name"] == "auditor")


async def killed_auditor_tells_nothing_twice(city: RunningCity, ciso: AdminClient) -> None:
    before = [record["sekisho.case.id"] for record in city.records("auditor") if "sekisho.case.id" in record]
    pid = auditor(city)["pid"]
    os.kill(pid, signal.SIGKILL)
    await curl(city, "-A", "Mozilla/5.0", f"{city.base}/other/[1-40]")  # of the same address: known already
    async with asyncio.timeout(60):
        while auditor(city)["pid"] == pid or not auditor(city)["ready"]:  # noqa: ASYNC110 (a file tells)
            await asyncio.sleep(0.05)
    await asyncio.sleep(2)  # long enough to read everything again; a second telling would be in the journal by then
    after = [record["sekisho.case.id"] for record in city.records("auditor") if "sekisho.case.id" in record]
    assert after == before


async def settled(ciso: AdminClient, case: str) -> None:
    await tell(ciso, f"/v1/anomalies/{case}/acknowledge", reason="調査中")
    with pytest.raises(Failure):
        await tell(ciso, f"/v1/anomalies/{case}/close", reason="", verdict="benign")
    with pytest.raises(Failure):
        await tell(ciso, f"/v1/anomalies/{case}/close", reason="調査済み", verdict="whatever")
    closed = await tell(ciso, f"/v1/anomalies/{case}/close", reason="脆弱性診断", verdict="benign")
    assert closed["state"] == "closed"
    assert case not in [row["id"] for row in (await ask(ciso, "/v1/anomalies"))["items"]]
    shown = await ask(ciso, f"/v1/anomalies/{case}")
    assert (shown["acknowledged"]["by"], shown["closed"]["verdict"]) == ("s0090", "benign")
    with pytest.raises(Failure):
        await tell(ciso, f"/v1/anomalies/{case}/acknowledge", reason="もう一度")


def test_an_attacker_with_curl_becomes_a_case(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_city(tmp_path) as city:
            await city.furnish()
            ciso = await operator(city, "ciso")
            case = await burst(city, ciso)
            await use_after_revocation(city, ciso)
            await killed_auditor_tells_nothing_twice(city, ciso)
            await settled(ciso, case)

    asyncio.run(main())
