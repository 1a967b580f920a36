"""The port over the official client: one key that only creates, one that only reads.

The client never retries by itself: whether a batch may be sent again depends on what became of it, and only the
shipper knows how to find out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

import elastic_transport
import elasticsearch
import orjson
from elastic_transport.client_utils import DEFAULT

from audit.documents import Document
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.template import stream

_TIMEOUT: Final = 30.0
_TOO_MANY: Final = 429
_TOO_LARGE: Final = 413
_BAD: Final = 400
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class ElasticAccess:
    """Where the cluster is. Keys are the `encoded` form of API keys."""

    url: str
    ca: Path | None
    write_key: str = field(repr=False)
    read_key: str = field(repr=False)
    namespace: str = "default"


class ElasticIndex:
    """An `Index` on a cluster. Use as an async context manager."""

    def __init__(self, access: ElasticAccess, timeout: float = _TIMEOUT) -> None:
        self._namespace = access.namespace
        self._write = _client(access, access.write_key, timeout)
        self._read = _client(access, access.read_key, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let the connections go."""
        await self._write.close()
        await self._read.close()

    async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
        """Send one bulk request of `create` actions."""
        operations: list[Any] = []  # lines ready to send: the client passes bytes on as they are
        for document in documents:
            place = {"_index": stream(document.dataset, self._namespace), "_id": document.id}
            operations += (orjson.dumps({"create": place}), orjson.dumps(document.body))
        try:
            answer = await self._write.bulk(operations=operations)
        except elasticsearch.ApiError as error:
            raise _api_fault(error) from None
        except elastic_transport.TransportError as error:
            raise IndexUnavailable(IndexFault.UNCERTAIN, type(error).__name__) from None
        return cast("Mapping[str, Any]", answer.body)

    async def stored(self, documents: Sequence[Document]) -> frozenset[str]:
        """Look each id up in every backing index of its stream (realtime, so unrefreshed ones count)."""
        by_stream: dict[str, list[str]] = defaultdict(list)
        for document in documents:
            by_stream[stream(document.dataset, self._namespace)].append(document.id)
        found: set[str] = set()
        try:
            for name, ids in by_stream.items():
                for backing in await self._backing(name):
                    answer = await self._read.mget(index=backing, ids=ids, source=False, realtime=True)
                    found.update(row["_id"] for row in answer.body["docs"] if row.get("found"))
        except elasticsearch.ApiError as error:
            raise _api_fault(error) from None
        except elastic_transport.TransportError as error:
            raise IndexUnavailable(IndexFault.UNCERTAIN, type(error).__name__) from None
        return frozenset(found)

    async def _backing(self, name: str) -> list[str]:
        try:
            answer = await self._read.indices.get_data_stream(name=name)
        except elasticsearch.NotFoundError:
            return []
        return [row["index_name"] for item in answer.body["data_streams"] for row in item["indices"]]


def _client(access: ElasticAccess, key: str, timeout: float) -> elasticsearch.AsyncElasticsearch:
    return elasticsearch.AsyncElasticsearch(
        access.url,
        api_key=key,
        request_timeout=timeout,
        max_retries=0,
        retry_on_timeout=False,
        http_compress=True,
        ca_certs=DEFAULT if access.ca is None else str(access.ca),
    )


def _api_fault(error: elasticsearch.ApiError) -> IndexUnavailable:
    status = error.status_code
    detail = f"answered {status} {error.message}"[:300]
    if status == _TOO_MANY:
        return IndexUnavailable(IndexFault.THROTTLED, detail)
    if status == _TOO_LARGE:
        return IndexUnavailable(IndexFault.TOO_LARGE, detail)
    if status in (401, 403):
        return IndexUnavailable(IndexFault.REFUSED, detail)
    if status in (_BAD, _NOT_FOUND):
        return IndexUnavailable(IndexFault.BAD_BATCH, detail)
    return IndexUnavailable(IndexFault.UNCERTAIN, detail)
