"""Answers a `Query` from Elasticsearch, with the reading key: the same answers as journals and index give.

A request that was open for long has two documents, `<id>.open` and later `<id>`; the former is no answer once the
latter is there. What the shipper has not brought yet is not in the copy: its lag says how old that is.
Source: Elastic, "Paginate search results" (PIT, `search_after`), "Composite aggregation" (`missing_bucket`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import elastic_transport
import elasticsearch

from audit.documents import Document, event_of
from audit.ecs import FIELDS
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.question import Clause, order, question
from audit.query import Counts, Query, agrees, counted, shown

_PAGE: Final = 1000
_KEEP_ALIVE: Final = "1m"
_OPEN: Final = ".open"
_COUNTED: Final = frozenset({"keyword", "ip", "long", "boolean"})  # kinds of fields that an aggregation tells as we do


class CopySearch:
    """Searches in one namespace's streams. `client` has the reading key; whoever made it closes it."""

    def __init__(self, client: elasticsearch.AsyncElasticsearch, namespace: str) -> None:
        self._client = client
        self._streams = f"logs-sekisho.*-{namespace}"

    async def search(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        """Yield at most `query.limit` events as `audit.search` does; raises `IndexUnavailable`."""
        count = 0
        async for event in self._events(query, question(query).filters, order(query)):
            if count == query.limit:
                return
            count += 1
            yield event

    async def count(self, query: Query, by: Sequence[str]) -> Counts:
        """Count all events that `query` asks for, whatever its limit, by these fields; raises `IndexUnavailable`."""
        asked = question(query)
        kinds = {FIELDS.get(name, "").removesuffix("[]") for name in by}
        if not asked.exact or not kinds <= _COUNTED:
            return counted([event async for event in self._events(query, asked.filters, ["_shard_doc"])], by)
        opened: Clause = {"wildcard": {"event.id": f"*{_OPEN}"}}
        still = [event async for event in self._events(query, (*asked.filters, opened), ["_shard_doc"])]
        return await self._aggregated(asked.filters, opened, by) + counted(still, by)

    async def _events(
        self, query: Query, filters: Sequence[Clause], sort: Sequence[Any]
    ) -> AsyncIterator[dict[str, Any]]:
        async with self._point() as point:
            after: list[Any] | None = None
            while True:
                with _faults_told():
                    answer = await self._client.search(
                        pit={"id": point, "keep_alive": _KEEP_ALIVE}, query={"bool": {"filter": list(filters)}},
                        sort=sort, size=_PAGE, search_after=after, track_total_hits=False,
                    )  # fmt: skip
                hits = answer["hits"]["hits"]
                gone = await self._ended(hits)
                for hit in hits:
                    if hit["_id"] not in gone:
                        event = event_of(Document(hit["_id"], "", hit["_source"]))[3]
                        if agrees(query, event):
                            yield event
                if len(hits) < _PAGE:
                    return
                after = hits[-1]["sort"]

    async def _ended(self, hits: Sequence[Mapping[str, Any]]) -> set[str]:
        """Return the ids of `.open` documents among the hits whose request has ended since."""
        ids = [hit["_id"].removesuffix(_OPEN) for hit in hits if hit["_id"].endswith(_OPEN)]
        if not ids:
            return set()
        with _faults_told():
            answer = await self._client.search(
                index=self._streams, query={"ids": {"values": ids}}, size=len(ids), source=False
            )
        return {hit["_id"] + _OPEN for hit in answer["hits"]["hits"]}

    async def _aggregated(self, filters: Sequence[Clause], without: Clause, by: Sequence[str]) -> Counts:
        query = {"bool": {"filter": list(filters), "must_not": [without]}}
        if not by:
            with _faults_told():
                total = (await self._client.count(index=self._streams, query=query))["count"]
            return Counts({(): total} if total else {})
        counts = Counts()
        composite: dict[str, Any] = {
            "size": _PAGE,
            "sources": [
                {str(at): {"terms": {"field": name, "missing_bucket": True}}} for at, name in enumerate(by)
            ],
        }  # fmt: skip
        while True:
            with _faults_told():
                answer = await self._client.search(
                    index=self._streams, query=query, size=0, aggs={"kinds": {"composite": composite}}
                )
            kinds = answer["aggregations"]["kinds"]
            for bucket in kinds["buckets"]:
                key = (bucket["key"][str(at)] for at in range(len(by)))
                counts[tuple("" if value is None else shown(value) for value in key)] += bucket["doc_count"]
            if "after_key" not in kinds:
                return counts
            composite["after"] = kinds["after_key"]

    @asynccontextmanager
    async def _point(self) -> AsyncIterator[str]:
        with _faults_told():
            opened = await self._client.open_point_in_time(index=self._streams, keep_alive=_KEEP_ALIVE)
        try:
            yield opened["id"]
        finally:
            with _faults_told():
                await self._client.close_point_in_time(id=opened["id"])


@contextmanager
def _faults_told() -> Iterator[None]:
    """Turn what the client raises into `IndexUnavailable`."""
    try:
        yield
    except elasticsearch.ApiError as error:
        raise IndexUnavailable(IndexFault.REFUSED, f"answered {error.status_code} {error.message}"[:300]) from None
    except elastic_transport.TransportError as error:
        raise IndexUnavailable(IndexFault.UNCERTAIN, type(error).__name__) from None
