"""税務 (sample): a large download and an upload, both streamed.

Run: python examples/zeimu.py PORT
"""

from __future__ import annotations

import asyncio
import hashlib
import sys

from aiohttp import web
from page import page, run

DOWNLOAD_BYTES = 100 * 1024 * 1024
BLOCK = bytes(range(256)) * 256
PARTS_PER_SECOND = 5


async def home(request: web.Request) -> web.Response:
    """Offer the download and the upload."""
    body = (
        '<p><a href="/download">課税台帳の写し(100 MB)</a></p>'
        '<form method="post" action="/upload" enctype="multipart/form-data">'
        '<label>申告書の取り込み<input type="file" name="file"></label><p><button>送る</button></p></form>'
    )
    return page("税務", body, request)


async def download(request: web.Request) -> web.StreamResponse:
    """Send 100 MB at the reader's pace; `?bytes=` asks for another size, `?rate=` for a pace in bytes a second."""
    size = min(int(request.query.get("bytes", DOWNLOAD_BYTES)), 8 * 1024**3)
    response = web.StreamResponse(headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"})
    response.headers["Content-Disposition"] = 'attachment; filename="daicho.bin"'
    await response.prepare(request)
    rate, left = int(request.query.get("rate", 0)), size
    while left:
        part = BLOCK[: min(left, rate // PARTS_PER_SECOND if rate else len(BLOCK))]
        await response.write(part)
        left -= len(part)
        if rate:
            await asyncio.sleep(1 / PARTS_PER_SECOND)
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
