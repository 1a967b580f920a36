"""The admin API as an aiohttp application, served by control on `admin.sock` (0600)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from gateway.admin.endpoint import Endpoint
from gateway.admin.endpoints import endpoints
from gateway.admin.guard import Guard
from gateway.admin.protection import dress, explaining
from gateway.identity.context import ControlContext

_METHODS = {"GET": ("GET", "HEAD")}  # RFC 9110 §9.1: who serves the one serves the other
_BODY_BYTES = 8 * 1024 * 1024  # a staff list as base64, or a policy with room to spare


def build_admin_app(context: ControlContext) -> web.Application:
    """Every command of the table, each behind the guard. Unknown addresses are 404, on record, and reach nothing."""
    app = web.Application(middlewares=[explaining(context)], client_max_size=_BODY_BYTES)
    app.on_response_prepare.append(dress)
    guard = Guard(context)
    for endpoint in endpoints():
        for method in _METHODS.get(endpoint.method, (endpoint.method,)):
            app.router.add_route(method, endpoint.path, _served(guard, endpoint))
    return app


def _served(guard: Guard, endpoint: Endpoint[Any]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        return await guard.serve(endpoint, request)

    return serve
