"""What the cluster holds, read with the reading key alone (`read`, `view_index_metadata`).

A period is read page by page of one point in time, in no order, so that memory does not grow with it. What was not
refreshed yet is not in there; a document that is missed can be looked up in every backing index (realtime `_mget`).
Source: Elastic, "Paginate search results" (PIT, `_shard_doc`), "Multi get API" (realtime).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

import elastic_transport
import elasticsearch

from audit.elastic.derivation import Period
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.template import stream
from audit.event import timestamp

_PAGE: Final = 1000
_KEEP_ALIVE: Final = "2m"
_TRIES: Final = 4
_PAUSE: Final = 1.0  # seconds; doubled
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_NOT_FOUND: Final = 404
_HEADERS: Final = {"accept": "application/json", "content-type": "application/json"}


class Stored(NamedTuple):
    """One document in one backing index."""

    id: str
    body: dict[str, Any]


class Copy:
    """The documents of one namespace's streams."""

    def __init__(self, client: elasticsearch.AsyncElasticsearch, namespace: str) -> None:
        """`client` has the reading key; whoever made it closes it."""
        self._client = client
        self._namespace = namespace

    async def documents(self, dataset: str, period: Period) -> AsyncIterator[Stored]:
        """Yield every document of a stream whose `@timestamp` is in the period; raise `IndexUnavailable`.

        A document that two backing indices hold comes twice. A stream that is not there holds nothing.
        """
        name = stream(dataset, self._namespace)
        opened = await self._ask("POST", f"/{name}/_pit?keep_alive={_KEEP_ALIVE}", None)
        if opened is None:
            return
        point = opened["id"]
        span = {"gte": timestamp(period.since), "lt": timestamp(period.until), "format": "strict_date_optional_time"}
        query: dict[str, Any] = {
            "size": _PAGE, "query": {"range": {"@timestamp": span}}, "sort": ["_shard_doc"], "track_total_hits": False,
            "pit": {"id": point, "keep_alive": _KEEP_ALIVE},
        }  # fmt: skip
        try:
            while hits := (await self._found("POST", "/_search", query))["hits"]["hits"]:
                for hit in hits:
                    yield Stored(hit["_id"], hit["_source"])
                query["search_after"] = hits[-1]["sort"]
        finally:
            await self._ask("DELETE", "/_pit", {"id": point})

    async def look_up(self, dataset: str, ids: Sequence[str]) -> list[Stored]:
        """Return these documents wherever a backing index of the stream has them; raise `IndexUnavailable`."""
        told = await self._ask("GET", f"/_data_stream/{stream(dataset, self._namespace)}", None)
        found = []
        for row in told["data_streams"][0]["indices"] if told is not None else ():
            answer = await self._found("POST", f"/{row['index_name']}/_mget?realtime=true", {"ids": list(ids)})
            found += [Stored(each["_id"], each["_source"]) for each in answer["docs"] if each.get("found")]
        return found

    async def _found(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._ask(method, path, body)
        if answer is None:
            raise IndexUnavailable(IndexFault.BAD_BATCH, f"{method} {path} answered 404: it went away meanwhile")
        return answer

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        """Perform one reading call, again where that may help; None = not there. Raise `IndexUnavailable`."""
        pause = _PAUSE
        for left in reversed(range(_TRIES)):
            try:
                answer = await self._client.perform_request(method, path, headers=_HEADERS, body=body)
                return dict(answer.body)
            except elasticsearch.ApiError as error:
                if error.status_code == _NOT_FOUND:
                    return None
                detail = f"{method} {path.partition('?')[0]} answered {error.status_code} {error.message}"[:300]
                if error.status_code not in _PASSING or not left:
                    raise IndexUnavailable(IndexFault.REFUSED, detail) from None
            except elastic_transport.TransportError as error:
                if not left:
                    raise IndexUnavailable(IndexFault.UNCERTAIN, f"{method} {path}: {type(error).__name__}") from None
            await asyncio.sleep(pause)
            pause *= 2
        raise IndexUnavailable(IndexFault.UNCERTAIN, f"{method} {path}")
