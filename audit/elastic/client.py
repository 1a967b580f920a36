"""The port over the official client: one key that only creates, one that only reads.

The client never retries by itself: whether a batch may be sent again depends on what became of it, and only the
shipper knows how to find out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import elastic_transport
import elasticsearch
import orjson
from elastic_transport.client_utils import DEFAULT

from audit.documents import Document
from audit.elastic.connection import DirectNode
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.template import stream

_TIMEOUT: Final = 30.0
_TOO_MANY: Final = 429
_TOO_LARGE: Final = 413
_BAD: Final = 400
_DETAIL: Final = 300  # characters of a fault that are told
_LONGEST: Final = 60.0  # seconds: whatever a server asks for, it is tried again
_TOLD: Final = "errors,items.*.status,items.*.error,items.*.failure_store"
"""What is looked at in a bulk answer: the rest is most of it."""


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
        self._namespace, self._timeout = access.namespace, timeout
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
            operations += (orjson.dumps({"create": place}), document.packed or orjson.dumps(document.body))
        try:
            answer = await self._write.bulk(operations=operations, filter_path=_TOLD)
        except elasticsearch.ApiError as error:
            raise fault_of(error) from None
        except elastic_transport.ConnectionTimeout as error:  # what took so long may take as long again
            raise IndexUnavailable(IndexFault.UNCERTAIN, _said(error), self._timeout) from None
        except elastic_transport.TransportError as error:
            raise IndexUnavailable(IndexFault.UNCERTAIN, _said(error)) from None
        return _mapping(answer.body)

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
                    found.update(_found(_mapping(answer.body), backing, len(ids)))
        except elasticsearch.ApiError as error:
            raise fault_of(error) from None
        except elastic_transport.TransportError as error:
            raise IndexUnavailable(IndexFault.UNCERTAIN, _said(error)) from None
        return frozenset(found)

    async def _backing(self, name: str) -> list[str]:
        try:
            answer = await self._read.indices.get_data_stream(name=name)
        except elasticsearch.NotFoundError as error:
            if _type_of(error) != "index_not_found_exception":  # a proxy's 404 says nothing about the stream
                raise
            return []
        rows = _mapping(answer.body).get("data_streams", [])
        return [row["index_name"] for item in rows for row in item["indices"]]


def _found(answer: Mapping[str, Any], backing: str, asked: int) -> list[str]:
    """Return the ids that are there; a shard that cannot be asked is a fault, for "not found" would be a guess."""
    rows = answer.get("docs")
    if not isinstance(rows, list) or len(rows) != asked:
        raise IndexUnavailable(IndexFault.UNCERTAIN, f"{backing}: an answer to another question")
    for row in rows:
        if "error" in row:
            raise IndexUnavailable(IndexFault.UNCERTAIN, f"{backing}: {row['error'].get('type', 'error')}"[:_DETAIL])
    return [row["_id"] for row in rows if row["found"]]


def _mapping(body: Any) -> Mapping[str, Any]:
    """Return a JSON object; anything else (a proxy's page) is no answer of the cluster's."""
    if not isinstance(body, dict):
        raise IndexUnavailable(IndexFault.UNCERTAIN, f"answered {str(body)[:80]!r}, expected a JSON object")
    return body


def _client(access: ElasticAccess, key: str, timeout: float) -> elasticsearch.AsyncElasticsearch:
    return elasticsearch.AsyncElasticsearch(
        access.url,
        api_key=key,
        request_timeout=timeout,
        max_retries=0,
        retry_on_timeout=False,
        node_class=DirectNode,
        serializer=elasticsearch.OrjsonSerializer(),
        ca_certs=DEFAULT if access.ca is None else str(access.ca),
    )


def fault_of(error: elasticsearch.ApiError) -> IndexUnavailable:
    """Return what a whole answer that is no success means for what was asked."""
    status = error.status_code
    detail = f"answered {status} {error.message}"[:_DETAIL]
    if status == _TOO_MANY:
        return IndexUnavailable(IndexFault.THROTTLED, detail, _patience(error))
    if status == _TOO_LARGE:
        return IndexUnavailable(IndexFault.TOO_LARGE, detail)
    if status in (401, 403):
        return IndexUnavailable(IndexFault.REFUSED, detail)
    if status == _BAD and _type_of(error):
        return IndexUnavailable(IndexFault.BAD_BATCH, detail)
    if 400 <= status < 500:  # a proxy's word, or the cluster's about something else than our documents
        return IndexUnavailable(IndexFault.REFUSED, detail)
    return IndexUnavailable(IndexFault.UNCERTAIN, detail, _patience(error))


def _type_of(error: elasticsearch.ApiError) -> str:
    """Return the type that Elasticsearch gives its errors, empty where somebody else answered."""
    told = error.body.get("error") if isinstance(error.body, dict) else None
    return str(told.get("type", "")) if isinstance(told, dict) else ""


def _patience(error: elasticsearch.ApiError) -> float | None:
    """Return the seconds of `Retry-After` (RFC 9110 §10.2.3), bounded; a date there counts as nothing."""
    value = error.meta.headers.get("retry-after") or ""
    return min(float(value), _LONGEST) if value.isdecimal() else None


def _said(error: elastic_transport.TransportError) -> str:
    """Say how a call failed; what could not be read as JSON may be anything, and is not repeated."""
    if isinstance(error, elastic_transport.SerializationError):
        return "the answer is not JSON"
    return f"{type(error).__name__}: {error.message}"[:_DETAIL]
