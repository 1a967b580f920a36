"""Style, script and icon of our own pages: read once, named by their content, served to anybody."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from aiohttp import web

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NAMES = ("sekisho.css", "passkey.js", "icon.svg")


@cache
def content(name: str) -> bytes:
    """The bytes of one asset."""
    return files("gateway.portal").joinpath("static", name).read_bytes()


async def serve(request: web.Request) -> web.Response:
    """Answer with an asset; names come from a closed list, never from the file system."""
    name = request.match_info["name"]
    if name not in _NAMES:
        raise web.HTTPNotFound
    tag = hashlib.sha256(content(name)).hexdigest()[:32]
    headers = {"Cache-Control": "no-cache", "ETag": f'"{tag}"'}
    if any(each.value in (tag, "*") for each in request.if_none_match or ()):  # RFC 9110 §13.1.2: weakly compared
        return web.Response(status=304, headers=headers)
    kind = _TYPES[name.rsplit(".", 1)[1]]
    return web.Response(body=content(name), headers=headers, content_type=kind, charset="utf-8")
