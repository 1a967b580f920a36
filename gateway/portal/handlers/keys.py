"""The public keys of the statements that apps receive (JWKS, RFC 7517): the one in use and the one after it."""

from __future__ import annotations

from aiohttp import web

from gateway.gate.assertion import key_set, load_key
from gateway.keyfiles import ASSERTION_CURRENT, ASSERTION_NEXT
from gateway.portal.arrival import context_of

_MAX_AGE = 300  # seconds: the next key stands here long before it signs


async def serve(request: web.Request) -> web.Response:
    """Answer with both keys, read anew so that a change of keys needs no restart."""
    folder = context_of(request).settings.paths.keys
    keys = key_set([load_key((folder / name).read_bytes()) for name in (ASSERTION_CURRENT, ASSERTION_NEXT)])
    return web.json_response(
        keys, content_type="application/jwk-set+json", headers={"Cache-Control": f"public, max-age={_MAX_AGE}"}
    )
