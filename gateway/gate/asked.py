"""What a record says of the request line: all who open a page ask an app for the same, so it is written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orjson import dumps

from gateway.gate.masking import add_path, query_digest, query_digests

if TYPE_CHECKING:
    from gateway.gate.request import RequestHead
    from gateway.state.records import App

KEPT: Final = 512  # lines of one app
LONGEST: Final = 256  # bytes


class Asked:
    """The request lines of one app, as members of a record's JSON object. Bounded; an app that changes has another."""

    __slots__ = ("app", "known")

    def __init__(self, app: App) -> None:
        self.app = app
        self.known: dict[bytes, str] = {}
        """By the line that the app gets."""

    def members(self, request: RequestHead, key: bytes) -> str:
        """Return `asked_fields` of a request to this app without braces; `key` is the installation's, for digests."""
        written = dumps(asked_fields(request, self.app, key))[1:-1].decode()
        line = request.line
        if len(line) <= LONGEST and request.exceptions is None:  # the line that an old app gets may hold a secret
            if len(self.known) >= KEPT:
                self.known.clear()
            self.known[line] = written
        return written


def asked_fields(request: RequestHead, app: App, key: bytes) -> dict[str, Any]:
    """Return what a record says of method, path and query."""
    fields: dict[str, Any] = {"http.request.method": request.method}
    add_path(fields, request.path_text, app.masked_paths, key)
    if request.query is not None:
        add_query(fields, request.query, app.masked_queries, key)
    return fields


def add_query(fields: dict[str, Any], query: bytes, names: tuple[str, ...], key: bytes) -> None:
    """Add the digest of a query, and those of the values under the names that the app lists."""
    fields["url.query"] = query_digest(key, query)
    if names and (digests := query_digests(key, query, names)) is not None:
        fields["sekisho.query_digests"] = digests
