"""The portal's addresses. Served on control's socket only; browsers reach it through the workers."""

from __future__ import annotations

from aiohttp import web

from gateway.identity.context import ControlContext
from gateway.portal import assets
from gateway.portal.arrival import APP, AREA, CONTEXT
from gateway.portal.availability import ActivePolicy
from gateway.portal.entrance import FLOWS
from gateway.portal.flows import Flows
from gateway.portal.forms import MAX_FORM
from gateway.portal.handlers import app_area, home, keys, my_factors, my_password, my_sessions, set_up, sign_in, step_up
from gateway.portal.protection import Handler, dress, explain, unnamed

PORTAL_ROUTES = (
    web.get("/", home.launcher),
    web.get("/sign-in", sign_in.show),
    web.post("/sign-in/password", sign_in.take_password),
    web.get("/sign-in/second", sign_in.show_second),
    web.post("/sign-in/totp", sign_in.take_totp),
    web.post("/sign-in/passkey", sign_in.take_passkey),
    web.post("/sign-in/finish", sign_in.finish),
    web.get("/sign-in/failed", home.sign_in_failed),
    web.get("/setup", set_up.show),
    web.post("/setup", set_up.take_code),
    web.get("/setup/password", set_up.show_password),
    web.post("/setup/password", set_up.take_password),
    web.get("/setup/totp", set_up.show_totp),
    web.post("/setup/totp", set_up.take_totp),
    web.get("/setup/passkey", set_up.show_passkey),
    web.post("/setup/passkey", set_up.take_passkey),
    web.get("/step-up", step_up.show),
    web.post("/step-up/totp", step_up.take_totp),
    web.post("/step-up/passkey", step_up.take_passkey),
    web.get("/sessions", my_sessions.show),
    web.post("/sessions/end", my_sessions.end),
    web.get("/factors", my_factors.show),
    web.post("/factors/remove", my_factors.remove),
    web.get("/factors/password", my_password.show),
    web.post("/factors/password", my_password.take),
    web.get("/factors/totp", my_factors.show_totp),
    web.post("/factors/totp", my_factors.take_totp),
    web.get("/factors/passkey", my_factors.show_passkey),
    web.post("/factors/passkey", my_factors.take_passkey),
    web.get("/sign-out", home.show_sign_out),
    web.post("/sign-out", home.take_sign_out),
    web.get("/static/{name}", assets.serve),
    web.get("/.well-known/jwks.json", keys.serve),
)

APP_ROUTES = (
    web.get("/.sekisho/callback", app_area.callback),
    web.get("/.sekisho/whoami", app_area.whoami),
    web.get("/.sekisho/sign-out", app_area.sign_out),
    web.get("/.sekisho/recheck", app_area.recheck),
    web.get("/.sekisho/jwks.json", keys.serve),
)


def build_portal_app(context: ControlContext) -> web.Application:
    """Make the application of control's socket: the portal, and our own pages on app hosts."""
    app = web.Application(middlewares=[dress, explain, _keep_to_area], client_max_size=MAX_FORM)
    app.on_response_prepare.append(unnamed)
    app[CONTEXT] = context
    app[FLOWS] = Flows()
    app[home.ACTIVE_POLICY] = ActivePolicy()
    app.add_routes([*PORTAL_ROUTES, *APP_ROUTES])
    return app


@web.middleware
async def _keep_to_area(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The portal's pages exist on the portal only, those of app hosts on app hosts only."""
    on_app_host = request.headers.get(AREA) == "app" and bool(request.headers.get(APP))
    if request.path.startswith("/.sekisho/") != on_app_host:
        raise web.HTTPNotFound
    return await handler(request)
