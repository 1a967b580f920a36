"""The whole gateway with a simulated MDM, real device certificates and its TLS listener."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import aiohttp

from gateway.certificates import Issued, issue_device_certificate
from gateway.state.records import AppSession, Device
from gateway.state.sealing import Sealing
from gateway.state.store import Reader
from mdm_sim import scenarios
from mdm_sim.server import GraphServer, Tenant, serve
from tests.support.gate_world import APP
from tests.support.running_city import HOST, RunningCity
from tests.support.steward_process import install, session, user

POLICY = """
version: 1
metadata: { id: test, revision: 1, title: 試験, owner: 情報政策課 }
zones: { office: [127.0.0.0/8] }
rules:
  - id: docs
    effect: allow
    owner: 情報政策課
    description: 税務課は適合端末から文書管理を利用できる
    when: { app: [docs], user.groups: { any_of: [tax] } }
    require: [ { device.compliant: true } ]
tests:
  - name: 適合端末から使える
    given: { app: docs, user.groups: [tax], device.compliant: true, device.known: true, net.zone: office,
             posture.read_age: 1m, posture.seen_age: 1m }
    expect: { effect: allow, rule: docs }
"""


class DeviceCity(RunningCity):
    """Two people, each with a device; `simulator` is the MDM."""

    def __init__(self, config: Path, environment: Mapping[str, str], simulator: GraphServer) -> None:
        super().__init__(config, environment, "gateway.supervisor")
        self.simulator = simulator
        self.tokens: dict[str, str] = {}

    @property
    def address(self) -> str:
        """The public listener."""
        return f"https://{self.status['listeners']['public']}"

    async def devices(self) -> dict[str, Device]:
        """The devices that the store knows, by name, once it knows every one of the MDM."""
        wanted = {device.name for device in self.simulator.world.devices()}
        reader = Reader(self.root / "state" / "sekisho.db", Sealing.load(self.root / "keys" / "sealing.key"))
        try:
            async with asyncio.timeout(60):
                while True:
                    found = {device.name: device for device in reader.devices()}
                    if wanted <= set(found):
                        return found
                    await asyncio.sleep(0.05)  # the store has no event for readers
        finally:
            reader.close()

    def certificate(self, device: Device, authority: str = "device-ca") -> Issued:
        """A certificate that names the device."""
        return issue_device_certificate(self.root / authority, device.uuid, 30, time.time())

    def tls(self, issued: Issued | None) -> ssl.SSLContext:
        """A client's context that shows the certificate."""
        context = ssl.create_default_context(cafile=str(self.root / "tls" / "demo-ca.pem"))
        if issued is not None:
            file = self.root / "run" / f"client-{secrets.token_hex(4)}.pem"
            file.write_bytes(issued.certificate + issued.key)
            context.load_cert_chain(file)
            file.unlink()
        return context

    async def person(self, number: int, device: Device | None, groups: tuple[str, ...] = ("tax",)) -> str:
        """A signed-in person, whose session began on `device`; returns the session's id."""
        name, token = f"s-{number}-{secrets.token_hex(3)}", secrets.token_urlsafe(32)
        await self.put("user.put", user=replace(user(number), groups=groups))
        row = session(name, f"u{number}", device_id=device.id if device else None)
        await self.steward.call("session.start", session=row.to_row(), replaces=None)
        digest = hashlib.sha256(token.encode()).hexdigest()
        await self.put(
            "app_session.start", app_session=AppSession(f"a-{name}", name, "docs", HOST, digest, time.time())
        )
        self.tokens[name] = token
        return name

    async def furnish_app(self, policy: str = POLICY) -> None:
        """The app and a policy that asks for a compliant device."""
        app = replace(
            APP, upstream=f"http://127.0.0.1:{self.app.port}", presets=("jwt",), masked_paths=(), preflight_origins=()
        )
        await self.put("app.put", app=app)
        await self.activate(policy)

    def browser(self, session_id: str, issued: Issued | None) -> Browser:
        """A client with the cookie of a session and the certificate of a device."""
        return Browser(self, self.tokens.get(session_id, ""), self.tls(issued))

    async def until(
        self, found: Callable[[dict[str, Any]], bool], writers: str = "*", within: float = 60
    ) -> dict[str, Any]:
        """The first record that `found` accepts, waited for `within` seconds."""
        async with asyncio.timeout(within):
            while True:
                for record in self.records(writers):
                    if found(record):
                        return record
                await asyncio.sleep(0.05)  # journals have no event for readers


class Browser:
    """Requests over TLS to the public listener, named by SNI."""

    def __init__(self, city: DeviceCity, token: str, tls: ssl.SSLContext) -> None:
        self._city = city
        self._tls = tls
        self._headers = {
            "Host": HOST,
            "Accept": "text/html",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        }
        if token:
            self._headers["Cookie"] = f"__Host-sekisho-app={token}"
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls)
        self._client = aiohttp.ClientSession(self._city.address, connector=connector, headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None
        await self._client.close()

    @property
    def client(self) -> aiohttp.ClientSession:
        assert self._client is not None
        return self._client

    async def get(self, path: str = "/") -> tuple[int, str]:
        """Status and text of one page."""
        async with self.client.get(path, server_hostname=HOST, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def events(self) -> aiohttp.ClientResponse:
        """An open stream of server-sent events, its first event read."""
        answer = await self.client.get("/events", server_hostname=HOST)
        assert await answer.content.readline() == b"data: first\n"
        return answer

    async def socket(self) -> aiohttp.ClientWebSocketResponse:
        """An open WebSocket that said welcome."""
        headers = {"Sec-Fetch-Mode": "websocket", "Sec-Fetch-Dest": "empty"}
        socket = await self.client.ws_connect(
            "/socket", origin=f"https://{HOST}", headers=headers, server_hostname=HOST
        )
        assert (await socket.receive()).data == "welcome"
        return socket


async def is_over(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Whether the WebSocket ends within thirty seconds."""
    async with asyncio.timeout(30):
        return (await socket.receive()).type in {
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.ERROR,
        }


async def stream_is_over(events: aiohttp.ClientResponse) -> bool:
    """Whether the stream breaks within thirty seconds."""
    try:
        async with asyncio.timeout(30):
            await events.content.read()
    except aiohttp.ClientError:
        return True
    return False


async def lives(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Whether a word comes back."""
    await socket.send_str("still there?")
    async with asyncio.timeout(30):
        return bool((await socket.receive()).data == "echo still there?")


@contextlib.asynccontextmanager
async def device_city(
    folder: Path, interval: float = 1.0, before: Callable[[Path], None] | None = None, **environment: str
) -> AsyncIterator[DeviceCity]:
    """A whole gateway that reads a simulated MDM each `interval` seconds; PC-1 and PC-2 belong to s0001 and s0002.

    `before` gets the installation's folder before anything starts.
    """
    config = await asyncio.to_thread(install, folder)
    if before is not None:
        before(config.parent)
    world = scenarios.empty()
    for number in (1, 2):
        world.enrol(f"PC-{number}", f"s{number:04}@city.example.jp", time.time())
    simulator = GraphServer(world, Tenant("t", "c", "s3cret"))
    runner, port = await serve(simulator, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{port}"
    secret = config.parent / "keys" / "mdm.secret"
    secret.write_text("s3cret")
    settings = {
        "BASE_URL": base, "TOKEN_URL": f"{base}/t/oauth2/v2.0/token", "CLIENT_ID": "c",
        "CLIENT_SECRET_FILE": str(secret), "INTERVAL": str(interval),
    }  # fmt: skip
    mdm = {f"SEKISHO_MDM__{name}": value for name, value in settings.items()}
    city = DeviceCity(config, {**mdm, **environment}, simulator)
    try:
        await city.start()
        yield city
    finally:
        await city.stop()
        await runner.cleanup()
