"""Where a person goes after sign-in: always a path on a registered app host or on the portal itself.

Addresses are put together from the configuration; nothing that a client sent becomes a scheme, host or port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gateway.state.records import App, AppState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.identity.context import ControlContext

MAX_PATH = 8192
_STATE_LENGTH = 43  # base64url of a SHA-256


@dataclass(frozen=True, slots=True)
class Destination:
    """`app` None = the portal. `state` is the digest of the state cookie on the app host, "" = none."""

    app: App | None
    host: str
    path: str
    state: str = ""

    def query(self) -> str:
        """The same destination as a query string for our own pages."""
        fields = {"app": self.host, "state": self.state, "to": self.path} if self.app else {"to": self.path}
        return urlencode({name: value for name, value in fields.items() if value})

    def fields(self) -> dict[str, str]:
        """The same as hidden fields of a form."""
        return {"app": self.host if self.app else "", "state": self.state, "to": self.path}


def read(context: ControlContext, fields: Mapping[str, str]) -> Destination:
    """Read a destination from a query or form; whatever is not exactly registered leads to the portal's front."""
    host, path = fields.get("app", ""), same_host_path(fields.get("to", ""))
    if not host:
        return Destination(None, context.settings.portal.host, path)
    app = app_of_host(context, host)
    if app is None:
        return Destination(None, context.settings.portal.host, "/")
    state = fields.get("state", "")
    return Destination(app, host, path, state if _is_state(state) else "")


def app_of_host(context: ControlContext, host: str) -> App | None:
    """The active app that serves exactly this host, or None."""
    for app in context.reader.apps():
        if host in app.hosts and app.state == AppState.ACTIVE:
            return app
    return None


def address(context: ControlContext, host: str, path: str) -> str:
    """The absolute address of a path on one of our hosts."""
    port = context.settings.portal.port
    return f"https://{host}{path}" if port == 443 else f"https://{host}:{port}{path}"


def of(context: ControlContext, destination: Destination) -> str:
    """The absolute address of a destination."""
    return address(context, destination.host, destination.path)


def same_host_path(typed: str) -> str:
    """A path with query that keeps to its host, else the front page. Our own pages are no destination of an app."""
    safe = typed.startswith("/") and len(typed) <= MAX_PATH and typed.isascii() and typed.isprintable()
    if not safe or "\\" in typed or " " in typed or "#" in typed or typed.startswith(("//", "/.sekisho/")):
        return "/"
    return typed


def _is_state(value: str) -> bool:
    return len(value) == _STATE_LENGTH and value.isascii() and value.replace("-", "").replace("_", "").isalnum()
