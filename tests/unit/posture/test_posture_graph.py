"""The Graph connector against the simulated service: every fault ends in a reason, never in a compliant device."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.posture.graph import GraphAccess, GraphSource
from gateway.posture.graph_device import COMPLIANCE, UnreadableDevice, device_of
from gateway.posture.source import SourceFault, SourceUnavailable
from mdm_sim.scenarios import city
from mdm_sim.server import GraphServer, Tenant, serve
from mdm_sim.world import COMPLIANCE_STATES

NOW = 1_790_000_000.0
TENANT = Tenant("t", "c", "s3cret")

Body = Callable[[GraphServer, GraphSource], Awaitable[None]]


def with_source(body: Body, *, secret: str = "s3cret", timeout: float = 30.0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        secret_file = Path(folder, "secret")
        secret_file.write_text(secret + "\n")
        _with_source(body, secret_file, timeout)


def _with_source(body: Body, secret_file: Path, timeout: float) -> None:
    async def main() -> None:
        server = GraphServer(city(NOW), TENANT, clock=lambda: NOW)
        runner, port = await serve(server, "127.0.0.1", 0)
        base = f"http://127.0.0.1:{port}"
        scope = "https://graph.microsoft.com/.default"
        access = GraphAccess(base, f"{base}/t/oauth2/v2.0/token", scope, "c", secret_file, timeout)
        try:
            async with aiohttp.ClientSession() as http:
                await body(server, GraphSource(access, http))
        finally:
            await runner.cleanup()

    asyncio.run(main())


def test_reads_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.posture.graph.PAGE_SIZE", 4)

    async def body(server: GraphServer, source: GraphSource) -> None:
        reading = await source.read(NOW)
        assert [d.name for d in reading.devices] == [d.name for d in server.world.devices()]
        assert (reading.unreadable, reading.read_at) == (0, NOW)
        assert server.faults.calls["list"] == 4
        await source.read(NOW)
        assert server.faults.calls["token"] == 1

    with_source(body)


def test_facts_of_one_device() -> None:
    async def body(server: GraphServer, source: GraphSource) -> None:
        server.world.decrypt("JOHO-PC-01", NOW)
        server.world.go_stale("JOHO-PC-01", NOW, hours=30)
        device = next(d for d in (await source.read(NOW)).devices if d.name == "JOHO-PC-01")
        assert (device.managed, device.compliant, device.encrypted, device.jailbroken) == (True, False, False, False)
        assert (device.seen_at, device.read_at) == (NOW - 30 * 3600, NOW)
        assert (device.owner, device.failing) == ("yamamoto", ("disk_encryption",))
        assert device.uuid == server.world.find("JOHO-PC-01").directory_id

    with_source(body)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("down", SourceFault.UNAVAILABLE),
        ("timeout", SourceFault.TIMED_OUT),
        ("throttle", SourceFault.THROTTLED),
        ("throttle_bare", SourceFault.THROTTLED),
        ("token_refused", SourceFault.CREDENTIALS_REFUSED),
        ("token_expired", SourceFault.CREDENTIALS_REFUSED),
        ("forbidden", SourceFault.FORBIDDEN),
        ("garbage", SourceFault.ANSWER_INVALID),
        ("cut", SourceFault.UNREACHABLE),
        ("endless_pages", SourceFault.ANSWER_INVALID),
        ("foreign_next_link", SourceFault.ANSWER_INVALID),
        ("huge", SourceFault.ANSWER_TOO_LARGE),
    ],
)
def test_every_fault_has_its_reason(kind: str, fault: SourceFault) -> None:
    async def body(server: GraphServer, source: GraphSource) -> None:
        server.faults.set(kind)
        with pytest.raises(SourceUnavailable) as caught:
            await source.read(NOW)
        assert caught.value.fault is fault
        assert caught.value.retry_after == (2.0 if kind == "throttle" else None)
        server.faults.set("none")
        assert len((await source.read(NOW)).devices) == 15

    with_source(body, timeout=2.0 if kind == "timeout" else 30.0)


@pytest.mark.promise("P1.unknown-posture-never-compliant")
@pytest.mark.parametrize("kind", ["strange_enum", "wrong_types"])
def test_what_nobody_has_heard_of_is_not_known(kind: str) -> None:
    async def body(server: GraphServer, source: GraphSource) -> None:
        server.faults.set(kind)
        devices = (await source.read(NOW)).devices
        if kind == "strange_enum":
            assert {d.compliant for d in devices} == {None}
        else:
            assert {(d.encrypted, d.seen_at) for d in devices} == {(None, None)}

    with_source(body)


def test_wrong_secret_is_named_and_not_shown() -> None:
    async def body(_server: GraphServer, source: GraphSource) -> None:
        with pytest.raises(SourceUnavailable) as caught:
            await source.read(NOW)
        assert caught.value.fault is SourceFault.CREDENTIALS_REFUSED
        assert "wr0ng-one" not in str(caught.value) + repr(source._access)

    with_source(body, secret="wr0ng-one")


def test_a_new_secret_counts_without_a_restart() -> None:
    async def body(_server: GraphServer, source: GraphSource) -> None:
        file = source._access.client_secret_file
        file.write_text("former")
        with pytest.raises(SourceUnavailable):
            await source.read(NOW)
        file.write_text("s3cret")
        assert len((await source.read(NOW)).devices) == 15
        file.unlink()
        source._token_until = 0.0
        with pytest.raises(SourceUnavailable) as caught:
            await source.read(NOW)
        assert caught.value.fault is SourceFault.CREDENTIALS_REFUSED

    with_source(body)


def test_expired_token_is_renewed_once() -> None:
    async def body(server: GraphServer, source: GraphSource) -> None:
        await source.read(NOW)
        server.faults.set("token_expired", times=1)
        assert len((await source.read(NOW)).devices) == 15
        assert server.faults.calls["token"] == 2

    with_source(body)


def test_service_away(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")

    async def main() -> None:
        async with aiohttp.ClientSession() as http:
            access = GraphAccess("http://127.0.0.1:9", "http://127.0.0.1:9/token", "x/.default", "c", secret, 2.0)
            with pytest.raises(SourceUnavailable) as caught:
                await GraphSource(access, http).read(NOW)
            assert caught.value.fault is SourceFault.UNREACHABLE

    asyncio.run(main())


@pytest.mark.promise("P1.unknown-posture-never-compliant")
@given(st.text() | st.integers() | st.none() | st.booleans() | st.lists(st.text()))
def test_only_the_word_compliant_is_compliant(told: object) -> None:
    device = device_of({"azureADDeviceId": "a", "complianceState": told}, NOW)

    assert (device.compliant is True) == (told == "compliant")


def test_table_covers_graphs_enum_and_only_compliant_is_compliant() -> None:
    assert set(COMPLIANCE) == set(COMPLIANCE_STATES)
    assert [state for state, (compliant, _) in COMPLIANCE.items() if compliant] == ["compliant"]


@pytest.mark.parametrize(
    "entry",
    [None, [], {}, {"id": "x"}, {"azureADDeviceId": 5}, {"azureADDeviceId": "00000000-0000-0000-0000-000000000000"}],
)
def test_nameless_entries_are_unreadable(entry: object) -> None:
    with pytest.raises(UnreadableDevice):
        device_of(entry, NOW)


@pytest.mark.parametrize(
    ("text", "seen"),
    [("0001-01-01T00:00:00Z", None), ("", None), ("yesterday", None), ("2026-09-21T09:33:20Z", 1_789_983_200.0)],
)
def test_dates(text: str, seen: float | None) -> None:
    device = device_of({"id": "a", "azureADDeviceId": "B", "lastSyncDateTime": text}, NOW)

    assert (device.seen_at, device.uuid) == (seen, "b")
    assert (device.compliant, device.encrypted, device.jailbroken) == (None, None, None)
