"""Which of our places a request is for: by its host, then by the one path prefix that is ours on every app host."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.gate.request import RequestHead
    from gateway.state.records import App
    from gateway.state.view import View

OWN_PATH = b"/.sekisho"
_OWN_PREFIX = OWN_PATH + b"/"


class Place(Enum):
    """Where a request goes."""

    APP = auto()
    APP_OWN_PAGE = auto()  # `/.sekisho/…` on an app's host
    PORTAL = auto()
    UNKNOWN_HOST = auto()
    MISDIRECTED = auto()  # the host is not the name that TLS was set up for


_APP = Place.APP


def route(view: View, portal_host: str, request: RequestHead) -> tuple[Place, App | None]:
    """Return the place of a request, and the app whose host it names (None for the portal and unknown hosts)."""
    host = request.host
    name = request.peer.server_name
    if name and name != host:
        return Place.MISDIRECTED, None
    app = view.hosts.get(host)
    if host == portal_host:
        return Place.PORTAL, None
    if app is None:
        return Place.UNKNOWN_HOST, None
    path = request.path
    if path.startswith(_OWN_PREFIX) or path == OWN_PATH:
        return Place.APP_OWN_PAGE, app
    return _APP, app


def is_own(path: bytes) -> bool:
    """Whether a canonical path on an app's host is one of our own pages."""
    return path.startswith(_OWN_PREFIX) or path == OWN_PATH
