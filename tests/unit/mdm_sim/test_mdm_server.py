"""The Graph wire over a real socket: token, paging, selection, errors, faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from mdm_sim.graph_api import PROPERTIES
from mdm_sim.scenarios import city
from mdm_sim.server import GraphServer, Tenant, serve

NOW = 1_790_000_000.0
TENANT = Tenant("tenant-1", "client-1", "s3cret")
FORM = {
    "grant_type": "client_credentials",
    "client_id": "client-1",
    "client_secret": "s3cret",
    "scope": "https://graph.microsoft.com/.default",
}
DEVICES = "/v1.0/deviceManagement/managedDevices"


class Caller:
    """A client of the simulated service."""

    def __init__(self, base: str, http: aiohttp.ClientSession, server: GraphServer) -> None:
        self.base, self.http, self.server = base, http, server
        self.token = ""

    async def sign_in(self) -> None:
        async with self.http.post(self.base + "/tenant-1/oauth2/v2.0/token", data=FORM) as answer:
            self.token = (await answer.json())["access_token"]

    async def get(self, target: str) -> tuple[int, Any, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = target if target.startswith("http") else self.base + target
        async with self.http.get(url, headers=headers) as answer:
            return answer.status, json.loads(await answer.text()), answer.headers

    async def do(self, path: str, body: dict[str, Any]) -> int:
        async with self.http.post(self.base + path, json=body) as answer:
            return answer.status


async def make() -> AsyncIterator[Caller]:
    server = GraphServer(city(NOW), TENANT, clock=lambda: NOW)
    runner, port = await serve(server, "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as http:
            caller = Caller(f"http://127.0.0.1:{port}", http, server)
            await caller.sign_in()
            yield caller
    finally:
        await runner.cleanup()


def test_pages_hold_every_device_once() -> None:
    async def main() -> None:
        async for caller in make():
            names, url = [], DEVICES + "?$top=4&$select=deviceName,complianceState"
            while url:
                status, body, _ = await caller.get(url)
                assert status == 200
                names += [value["deviceName"] for value in body["value"]]
                assert all(set(value) == {"deviceName", "complianceState"} for value in body["value"])
                url = body.get("@odata.nextLink", "")
            assert names == [device.name for device in caller.server.world.devices()]
            assert caller.server.faults.calls["list"] == 4

    run(main)


def test_one_device_and_its_failing_settings() -> None:
    async def main() -> None:
        async for caller in make():
            await caller.do("/_sim/do", {"verb": "decrypt", "device": "JOHO-PC-01"})
            device = caller.server.world.find("JOHO-PC-01")
            _, body, _ = await caller.get(f"{DEVICES}/{device.id}")
            assert set(body) == set(PROPERTIES)
            assert (body["complianceState"], body["isEncrypted"]) == ("noncompliant", False)
            assert body["deviceHealthAttestationState"] is None
            _, states, _ = await caller.get(f"{DEVICES}/{device.id}/deviceCompliancePolicyStates")
            assert states["value"][0]["settingStates"] == [{"setting": "RequireEncryption", "state": "nonCompliant"}]
            status, error, _ = await caller.get(f"{DEVICES}/no-such-device")
            assert (status, error["error"]["code"]) == (404, "ResourceNotFound")

    run(main)


@pytest.mark.parametrize("change", [{"client_secret": "wrong"}, {"client_id": "other"}, {"scope": "x"}])
def test_wrong_credentials_get_no_token(change: dict[str, str]) -> None:
    async def main() -> None:
        async for caller in make():
            url = caller.base + "/tenant-1/oauth2/v2.0/token"
            async with caller.http.post(url, data={**FORM, **change}) as answer:
                assert (answer.status, (await answer.json())["error"]) == (401, "invalid_client")

    run(main)


def test_no_token_no_answer() -> None:
    async def main() -> None:
        async for caller in make():
            caller.token = "guessed"
            status, body, _ = await caller.get(DEVICES)
            assert (status, body["error"]["code"]) == (401, "InvalidAuthenticationToken")

    run(main)


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [
        ("down", 503, None),
        ("throttle", 429, "2"),
        ("throttle_bare", 429, None),
        ("forbidden", 403, None),
        ("token_expired", 401, None),
    ],
)
def test_faults_on_request_for_so_many_calls(kind: str, status: int, retry_after: str | None) -> None:
    async def main() -> None:
        async for caller in make():
            assert await caller.do("/_sim/break", {"kind": kind, "times": 1}) == 200
            got, body, headers = await caller.get(DEVICES)
            assert (got, headers.get("Retry-After")) == (status, retry_after)
            assert body["error"]["innerError"]["request-id"]
            assert (await caller.get(DEVICES))[0] == 200

    run(main)


@pytest.mark.parametrize("query", ["$select=nothingLikeIt", "$top=0", "$top=x", "$filter=a", "$skiptoken=!!"])
def test_bad_queries_are_refused(query: str) -> None:
    async def main() -> None:
        async for caller in make():
            status, body, _ = await caller.get(f"{DEVICES}?{query}")
            assert (status, body["error"]["code"]) == (400, "BadRequest")

    run(main)


def run(main: Any) -> None:
    asyncio.run(main())
