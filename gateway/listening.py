"""How control listens: aiohttp on a unix socket, but with our own words where the bytes are no request.

aiohttp answers such bytes by itself, around the application: with its own name and version, with what its parser says
of the bytes, and with the bytes in the log, whatever secret stood in them. Here that answer is a problem (RFC 9457) on
record (`gateway.admin.protection`), and the log has the kind of fault only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

CLOSING: Final = 5.0  # seconds that requests under way have at the end
Explained = Callable[[int], Awaitable[web.Response]]
"""Returns the answer, of about this status, to bytes that are no request or broke what serves them; keeps a record."""
_SILENT: Final[dict[str, Any]] = {"access_log": None}  # every request is on record already
_log = logging.getLogger("sekisho.control")


async def listen(app: web.Application, path: Path, explained: Explained) -> web.AppRunner:
    """Listen on a unix socket that only our own user can open; a socket left by a dead process is replaced."""
    runner = _Runner(app, explained)
    await runner.setup()
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # noqa: ASYNC240 (once, at the start, on a local folder)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(before)
    return runner


class _Answer(web.Response):
    """Made only as it goes out, since it is on record before; without the library's name."""

    def __init__(self, status: int, explained: Explained) -> None:
        super().__init__(status=status)
        self._explained = explained

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        made = await self._explained(self.status)
        self.set_status(made.status)
        self.headers.update(made.headers)
        self.body = made.body
        self.force_close()
        return await super().prepare(request)

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop(hdrs.SERVER, None)


class _Connection(web.RequestHandler):
    """One connection."""

    __slots__ = ("_explained",)

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, explained: Explained) -> None:
        super().__init__(server, loop=loop, **_SILENT)
        self._explained = explained

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are no request, or a fault outside every handler. Raises ConnectionError within an answer.

        `message` is the library's: it repeats what the client sent.
        """
        del message
        if status < 500:
            _log.warning("no request: %s", type(exc).__name__)
        else:
            _log.error("a request failed outside its handler", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        return _Answer(status, self._explained)


class _Server(web.Server):
    """Makes connections of ours."""

    def __init__(self, made: web.Server, loop: asyncio.AbstractEventLoop, explained: Explained) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, loop=loop)
        self._made_in, self._explained = loop, explained

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._made_in, self._explained)


class _Runner(web.AppRunner):
    """Runs an application on connections of ours."""

    __slots__ = ("_explained",)

    def __init__(self, app: web.Application, explained: Explained) -> None:
        super().__init__(app, handle_signals=False, shutdown_timeout=CLOSING)
        self._explained = explained

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), asyncio.get_running_loop(), self._explained)
