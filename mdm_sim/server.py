"""The simulated service behind a socket (aiohttp): Graph's endpoints, and `/_sim/` to change the world.

`/_sim/` exists so that a person, the demo and tests can act on the world from outside; a real MDM has nothing of it,
and the gateway knows nothing of it.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from mdm_sim import graph_api
from mdm_sim.faults import FaultKind, Faults
from mdm_sim.world import World, WorldError, perform

Clock = Callable[[], float]
TOKEN_LIFETIME = 3599
HUGE_BYTES = 64 * 1024 * 1024
STALL = 600.0
SHUTDOWN = 0.2


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who may ask: one application registration."""

    tenant_id: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Tenant({self.tenant_id!r}, {self.client_id!r}, …)"


class GraphServer:
    """One world behind the Graph wire."""

    def __init__(self, world: World, tenant: Tenant, faults: Faults | None = None, clock: Clock = time.time) -> None:
        self.world = world
        self.tenant = tenant
        self.faults = faults or Faults()
        self._clock = clock
        self._tokens: dict[str, float] = {}

    def application(self) -> web.Application:
        """Return the aiohttp application that serves the wire and `/_sim/`."""
        app = web.Application()
        devices = "/v1.0/deviceManagement/managedDevices"
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._token)
        app.router.add_get(devices, self._guarded("list", self._list))
        app.router.add_get(devices + "/{id}", self._guarded("get", self._get))
        app.router.add_get(devices + "/{id}/deviceCompliancePolicyStates", self._guarded("states", self._states))
        app.router.add_get("/_sim/devices", self._sim_devices)
        app.router.add_post("/_sim/do", self._sim_do)
        app.router.add_post("/_sim/enrol", self._sim_enrol)
        app.router.add_post("/_sim/break", self._sim_break)
        app.router.add_get("/_sim/calls", self._sim_calls)
        return app

    # the wire

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        kind = self.faults.take("token")
        if kind is not FaultKind.TOKEN_REFUSED and (broken := await self._broken(request, kind)) is not None:
            return broken
        secret = str(form.get("client_secret", ""))
        good = (
            request.match_info["tenant"] == self.tenant.tenant_id
            and form.get("grant_type") == "client_credentials"
            and form.get("client_id") == self.tenant.client_id
            and str(form.get("scope", "")).endswith("/.default")
            and hmac.compare_digest(secret.encode(), self.tenant.client_secret.encode())
        )
        if not good or kind is FaultKind.TOKEN_REFUSED:
            body = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}
            return web.json_response(body, status=401)
        token = secrets.token_urlsafe(48)
        self._tokens[token] = self._clock() + TOKEN_LIFETIME
        return web.json_response({"token_type": "Bearer", "expires_in": TOKEN_LIFETIME, "access_token": token})

    def _guarded(
        self, endpoint: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            kind = self.faults.take(endpoint)
            if (broken := await self._broken(request, kind)) is not None:
                return broken
            if kind is FaultKind.TOKEN_EXPIRED or not self._authorised(request):
                return self._error(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
            try:
                response = await handler(request)
            except graph_api.QueryError as error:
                return self._error(400, "BadRequest", str(error))
            return response

        return guarded

    def _authorised(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and self._tokens.get(token, 0.0) > self._clock()

    async def _broken(self, request: web.Request, kind: FaultKind) -> web.StreamResponse | None:
        match kind:
            case FaultKind.DOWN:
                return self._error(503, "ServiceUnavailable", "The service is temporarily unavailable.")
            case FaultKind.TIMEOUT:
                await asyncio.sleep(STALL)
                return self._error(504, "GatewayTimeout", "The upstream service did not answer in time.")
            case FaultKind.THROTTLE:
                return self._error(429, "TooManyRequests", "Too many requests.", {"Retry-After": "2"})
            case FaultKind.THROTTLE_BARE:
                return self._error(429, "TooManyRequests", "Too many requests.")
            case FaultKind.FORBIDDEN:
                return self._error(403, "Forbidden", "Application is not authorized to perform this operation.")
            case FaultKind.GARBAGE:
                return web.Response(text='{"value": [{"id": ', content_type="application/json")
            case FaultKind.CUT:
                return await self._cut(request)
            case FaultKind.HUGE:
                return await self._huge(request)
            case _:
                return None

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "100000"})
        await response.prepare(request)
        await response.write(b'{"value": [')
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _huge(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"value": [')
        for _ in range(HUGE_BYTES // 65536):
            await response.write(b" " * 65536)
        await response.write(b"]}")
        return response

    async def _list(self, request: web.Request) -> web.StreamResponse:
        now = self._clock()
        unknown = set(request.query) - {"$select", "$top", "$skiptoken"}
        if unknown:
            raise graph_api.QueryError(f"The query option '{min(unknown)}' is not supported.")
        selected = graph_api.select(request.query.get("$select", ""))
        size = graph_api.top(request.query.get("$top", str(graph_api.DEFAULT_PAGE)))
        devices, following = graph_api.page(self.world.devices(), size, request.query.get("$skiptoken", ""))
        values = [graph_api.managed_device(device, now, selected) for device in devices]
        body: dict[str, Any] = {"value": self._distorted(values)}
        if self.faults.kind is FaultKind.ENDLESS_PAGES:
            body["@odata.nextLink"] = str(request.url)
        elif self.faults.kind is FaultKind.FOREIGN_NEXT_LINK:
            body["@odata.nextLink"] = "http://127.0.0.2:9/v1.0/deviceManagement/managedDevices"
        elif following:
            body["@odata.nextLink"] = str(request.url.update_query({"$skiptoken": following}))
        return web.json_response(body)

    def _distorted(self, values: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.faults.kind is FaultKind.STRANGE_ENUM:
            return [{**value, "complianceState": "quantumCompliant"} for value in values]
        if self.faults.kind is FaultKind.WRONG_TYPES:
            return [{**value, "isEncrypted": "yes", "lastSyncDateTime": 17} for value in values]
        return values

    async def _get(self, request: web.Request) -> web.StreamResponse:
        for device in self.world.devices():
            if device.id == request.match_info["id"]:
                selected = graph_api.select(request.query.get("$select", ""))
                return web.json_response(graph_api.managed_device(device, self._clock(), selected))
        return self._error(404, "ResourceNotFound", "Resource not found.")

    async def _states(self, request: web.Request) -> web.StreamResponse:
        for device in self.world.devices():
            if device.id == request.match_info["id"]:
                return web.json_response(graph_api.policy_states(device, self._clock()))
        return self._error(404, "ResourceNotFound", "Resource not found.")

    def _error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
        body = graph_api.error(code, message, secrets.token_hex(16), self._clock())
        return web.json_response(body, status=status, headers=headers)

    # the world

    async def _sim_devices(self, _request: web.Request) -> web.Response:
        now = self._clock()
        rows = [
            {**asdict(device), "compliance": device.compliance(now), "last_sync": device.last_sync(now)}
            for device in self.world.devices()
        ]
        return web.json_response({"devices": rows, "fault": self.faults.kind.value})

    async def _sim_do(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            device = perform(
                self.world, body.get("verb", ""), body.get("device", ""), self._clock(), str(body.get("argument", ""))
            )
        except WorldError as error:
            return web.json_response({"fault": str(error)}, status=400)
        return web.json_response(asdict(device))

    async def _sim_enrol(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            device = self.world.enrol(str(body.get("name", "")), str(body.get("user", "")), self._clock())
        except WorldError as error:
            return web.json_response({"fault": str(error)}, status=400)
        return web.json_response(asdict(device))

    async def _sim_break(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            self.faults.set(str(body.get("kind", "")), body.get("times"))
        except ValueError:
            kinds = ", ".join(kind.value for kind in FaultKind)
            return web.json_response({"fault": f"no fault {body.get('kind')!r}; faults: {kinds}"}, status=400)
        return web.json_response({"fault": self.faults.kind.value})

    async def _sim_calls(self, _request: web.Request) -> web.Response:
        return web.json_response(dict(self.faults.calls))


async def serve(server: GraphServer, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Start serving on `host:port` (0 picks one); return the runner to clean up and the port."""
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    addresses = runner.addresses
    return runner, int(addresses[0][1])
