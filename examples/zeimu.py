"""税務 (sample): a large download and an upload, both streamed.

Run: python examples/zeimu.py PORT
"""

from __future__ import annotations

import hashlib
import sys

from aiohttp import web
from page import page, run

DOWNLOAD_BYTES = 100 * 1024 * 1024
BLOCK = bytes(range(256)) * 256


async def home(request: web.Request) -> web.Response:
    """Offer the download and the upload."""
    body = (
        '<p><a href="/download">課税台帳の写し(100 MB)</a></p>'
        '<form method="post" action="/upload" enctype="multipart/form-data">'
        '<label>申告書の取り込み<input type="file" name="file"></label><p><button>送る</button></p></form>'
    )
    return page("税務", body, request)


async def download(request: web.Request) -> web.StreamResponse:
    """Send 100 MB at the reader's pace; `?bytes=` asks for another size."""
    size = min(int(request.query.get("bytes", DOWNLOAD_BYTES)), 8 * 1024**3)
    response = web.StreamResponse(headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"})
    response.headers["Content-Disposition"] = 'attachment; filename="daicho.bin"'
    await response.prepare(request)
    left = size
    while left:
        part = BLOCK[:left]
        await response.write(part)
        left -= len(part)
    return response


async def upload(request: web.Request) -> web.Response:
    """Read the body as it comes; answer its size and digest."""
    digest, size = hashlib.sha256(), 0
    async for part in request.content.iter_any():
        digest.update(part)
        size += len(part)
    return web.json_response({"bytes": size, "sha256": digest.hexdigest()})


def application() -> web.Application:
    """Return the app."""
    app = web.Application()
    app.router.add_get("/", home)
    app.router.add_get("/download", download)
    app.router.add_post("/upload", upload)
    return app


if __name__ == "__main__":
    run(application(), int(sys.argv[1]))
