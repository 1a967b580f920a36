"""How the official client's requests travel: compressed beside the loop, and never to another address than was asked.

`elastic_transport` lets a node class of one's own stand for its own one. Three things are different in ours:

- A large body is compressed at level 1 in a thread: the client would compress at level 9 inside the event loop, which
  costs several times as much for a few per cent less.
- A bulk request travels as POST, which Elasticsearch takes as it does PUT. The client says PUT, and aiohttp sends a PUT
  again by itself when a kept connection ends before the answer (its idempotent methods, RFC 9110 §9.2.2): the same
  documents twice, without a word, and after a rollover stored twice.
- A redirect is a fault: a bulk request's documents must not follow one to another host.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import Any, Final, NoReturn

import aiohttp
import elastic_transport
from elastic_transport._node import NodeApiResponse  # the class it derives from returns it, nothing exports it
from elastic_transport.client_utils import DEFAULT, DefaultType

_WORTH: Final = 1400  # bytes: less fits one packet as it is
_LEVEL: Final = 1


class RedirectRefused(aiohttp.ClientError):
    """The server, or a proxy before it, answered with a redirect."""


class DirectNode(elastic_transport.AiohttpHttpNode):
    """One address of a cluster."""

    async def perform_request(  # type: ignore[override]  # as the class it takes the place of
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: elastic_transport.HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        """Send one request; raises `elastic_transport.TransportError`."""
        if method == "PUT" and target.partition("?")[0].endswith("/_bulk"):
            method = "POST"
        if body is not None and len(body) >= _WORTH:
            body = await asyncio.to_thread(gzip.compress, body, _LEVEL)
            headers = elastic_transport.HttpHeaders(headers or {})
            headers["content-encoding"] = "gzip"
        return await super().perform_request(method, target, body, headers, request_timeout)

    def _create_aiohttp_session(self) -> None:
        super()._create_aiohttp_session()
        watch = aiohttp.TraceConfig()
        watch.on_request_redirect.append(_refuse)
        watch.freeze()
        if self.session is not None:
            self.session.trace_configs.append(watch)


async def _refuse(*_told: Any) -> NoReturn:
    raise RedirectRefused("a redirect, which is not followed")
