"""The portal's and the app hosts' own cookies: `__Host-` prefix, so no sibling host can set or read them.

| name | host | holds | life |
|---|---|---|---|
| `__Host-sekisho` | portal | session token | browser session |
| `__Host-sekisho-pending` | portal | token of a sign-in under way | 10 minutes |
| `__Host-sekisho-person` | both | keyed digest of who signed in last | 400 days |
| `__Host-sekisho-lang` | portal | chosen language | 400 days |
| `__Host-sekisho-app` | app host | app session token | browser session |
| `__Host-sekisho-state` | app host | binds the hand-over to this browser (set by the worker) | until the callback |
"""

from __future__ import annotations

from aiohttp import web

SESSION = "__Host-sekisho"
PENDING = "__Host-sekisho-pending"
PERSON = "__Host-sekisho-person"
LANGUAGE = "__Host-sekisho-lang"
APP_SESSION = "__Host-sekisho-app"
STATE = "__Host-sekisho-state"

LONGEST = 400 * 86_400  # seconds: what browsers keep at most


def put(response: web.StreamResponse, name: str, value: str, *, max_age: int | None = None) -> None:
    """Set one cookie: Secure, HttpOnly, SameSite=Lax, this host only."""
    response.set_cookie(name, value, max_age=max_age, path="/", secure=True, httponly=True, samesite="Lax")


def drop(response: web.StreamResponse, name: str) -> None:
    """Make the browser forget one cookie."""
    response.set_cookie(name, "", max_age=0, path="/", secure=True, httponly=True, samesite="Lax")


def clear_site_data(response: web.StreamResponse, *kinds: str) -> None:
    """Have the browser delete what this site (cookies: the whole registrable domain) left behind."""
    response.headers["Clear-Site-Data"] = ", ".join(f'"{kind}"' for kind in kinds)
