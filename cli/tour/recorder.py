"""An upstream that keeps its own list: each request's id is appended to a file before the answer.

Run: python -m cli.tour.recorder PORT FILE
"""

from __future__ import annotations

import os
import sys

from aiohttp import web

_HEADER = "X-Sekisho-Request-Id"


def application(path: str) -> web.Application:
    """Return the app; the list survives the death of every process, this one too."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def take(request: web.Request) -> web.Response:
        name = request.headers.get(_HEADER, "")
        os.write(handle, name.encode() + b"\n")
        return web.Response(text=name)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", take)
    return app


if __name__ == "__main__":
    web.run_app(application(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
