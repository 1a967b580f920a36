"""A reload, broken files, a new program under load: nothing fails, all is on record, what is broken changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from cli.failure import Failure
from gateway.keyfiles import ASSERTION_CURRENT
from tests.support.restarting_city import DRAIN, Browser, RestartingCity, restarting_city

CLIENTS = 8
REQUESTS = 1000
UNKNOWN = "a key of this table (sekisho config reference lists them)"
SETTLED = 60  # requests that pass between two restarts


async def broken_settings_are_refused(city: RestartingCity) -> None:
    """All faults come at once, with their lines; nobody is replaced."""
    before = city.pids()
    line = city.write_settings("limits", "header_count = 1", "header_cuont = 2")
    with pytest.raises(Failure) as refused:
        await city.reload()
    assert [each for each in refused.value.lines if "sekisho.toml" in each] == [
        f"{city.config}:{line}: limits.header_count: got 1, expected greater than or equal to 20",
        f"{city.config}:{line + 1}: limits.header_cuont: got an unknown key, expected {UNKNOWN}",
    ]
    assert city.pids() == before
    city.write_settings("limits")


async def a_worker_comes_back_with_what_was_accepted(city: RestartingCity) -> None:
    """The file is broken by now: a process that dies does not read it."""
    city.config.write_text("not = [toml")
    former = city.pids()["worker-1"]
    os.kill(former, signal.SIGKILL)
    await city.city.back("worker-1", former)


async def a_key_of_another_certificate_is_refused(city: RestartingCity) -> None:
    before, key = city.pids(), city.city.root / "tls" / "server.key"
    kept = key.read_bytes()
    key.write_bytes((city.city.root / "tls" / "demo-ca.key").read_bytes())
    with pytest.raises(Failure) as refused:
        await city.reload()
    assert "listeners.public.key" in refused.value.lines[0]
    assert city.pids() == before
    key.write_bytes(kept)


async def what_does_not_come_up_is_put_back(city: RestartingCity) -> None:
    """The settings are right, but no worker can start: the old ones stay."""
    before, key = city.pids(), city.city.root / "keys" / ASSERTION_CURRENT
    away = key.rename(key.with_suffix(".away"))
    with pytest.raises(Failure, match="worker-0: the new process ended while it started"):
        await city.reload()
    assert city.pids() == before
    away.rename(key)


async def settings_and_certificate_are_taken_up(city: RestartingCity) -> None:
    """Workers only are replaced; they serve the new certificate; the record says what changed."""
    before, serial = city.pids(), await city.renew_certificate()
    city.write_settings("limits", "header_count = 90")
    plan = await city.command("--dry-run")
    assert [(each["key"], each["concerns"]) for each in plan] == [
        ("limits.header_count", ["workers"]), ("worker-0", ["replaced"]), ("worker-1", ["replaced"]),
    ]  # fmt: skip
    assert (plan[0]["before"], plan[0]["after"]) == ("100", "90")
    assert city.pids() == before
    answer = await city.command("--yes")
    assert answer == {"changed": ["limits.header_count"], "replaced": ["worker-0", "worker-1"]}
    after = city.pids()
    assert {name for name in after if after[name] != before[name]} == {"worker-0", "worker-1"}
    assert await city.served_serial() == serial


async def the_program_is_replaced(city: RestartingCity, name: str) -> None:
    """Every process runs the other program then; the supervisor is still the same process."""
    supervisor = city.city.status["pid"]
    city.swap_program(name)
    await city.reload(program=True)
    await city.all_run(name)
    assert city.city.status["pid"] == supervisor


def everything_is_on_record(city: RestartingCity, done: int) -> None:
    """What clients got answered, what the app saw and what the journals hold is the same."""
    found = city.agreement()
    assert found.faults == ()
    assert found.unsent == 0
    decided = Counter(
        each["url.path"] for each in city.city.records("worker-*")
        if each["event.action"] == "request.decided" and each["url.path"] != "/socket"
    )  # fmt: skip
    assert set(decided.values()) == {1}
    assert len(decided) == done
    acts = [each for each in city.city.records("supervisor") if each["event.action"].startswith("settings.")]
    assert [each["event.action"] for each in acts] == [*["settings.refused"] * 3, *["settings.taken_up"] * 2]
    assert {each["sekisho.by"] for each in acts} == {"op"}
    assert acts[3]["sekisho.settings.changed"] == ["limits.header_count: 100 -> 90"]


@pytest.mark.timeout(500)
@pytest.mark.promise("P1.nothing-lost-in-a-restart")
@pytest.mark.promise("P1.broken-settings-change-nothing")
@pytest.mark.promise("P7.restarted-websocket-says-why")
def test_nothing_is_lost(tmp_path: Path) -> None:
    async def run() -> None:
        async with restarting_city(tmp_path) as city:
            clients = await city.clients(CLIENTS)
            clients.start()
            browser = await Browser.open(city)
            await clients.passed(SETTLED)
            await broken_settings_are_refused(city)
            await a_key_of_another_certificate_is_refused(city)
            await what_does_not_come_up_is_put_back(city)
            assert await browser.says(b"before") == b"before"
            began = time.monotonic()
            await settings_and_certificate_are_taken_up(city)
            assert await browser.says(b"after") == b"after"
            code, reason = await browser.closed()
            assert code == 1012
            assert reason.startswith("gateway_restarting 受付番号 ")
            assert time.monotonic() - began >= DRAIN
            await clients.passed(SETTLED)
            await the_program_is_replaced(city, "two")
            await clients.passed(max(SETTLED, REQUESTS - clients.done))
            await clients.stop()
            assert clients.failures == []
            assert clients.last_answers > CLIENTS / 2
            await a_worker_comes_back_with_what_was_accepted(city)
            await city.city.stop()
            everything_is_on_record(city, clients.done)

    asyncio.run(run())
