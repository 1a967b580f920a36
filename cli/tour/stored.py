"""What an Elasticsearch holds, asked over plain HTTP as its administrator: none of the shipper's code has a part."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

from cli.tour.elasticsearch import Node
from cli.tour.stage import require

_STREAMS = "logs-sekisho.*-default"
_PAGE = 2000
_PLACE = tuple(f"sekisho.journal.{name}" for name in ("writer", "epoch", "seq"))
_CHECKPOINT = "checkpoint:"


@dataclass(slots=True)
class Stored:
    """Every document of the streams' backing indices."""

    places: dict[str, list[str]] = field(default_factory=dict)  # id → `writer:epoch:seq`, once for each time
    checkpoints: list[str] = field(default_factory=list)  # their ids; they stand in no journal
    indices: set[str] = field(default_factory=set)

    def take(self, hit: dict[str, Any]) -> None:
        """Add one hit."""
        self.indices.add(hit["_index"])
        if hit["_id"].startswith(_CHECKPOINT):
            self.checkpoints.append(hit["_id"])
            return
        source = hit["_source"]
        place = ":".join(str(source[name]) for name in _PLACE)
        self.places.setdefault(hit["_id"], []).append(place)


class Held(NamedTuple):
    """One document and the backing index that holds it."""

    id: str
    backing: str
    body: dict[str, Any]


class Server:
    """The cluster, asked by its administrator. Use as an async context manager."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._node.url, headers={"Authorization": aiohttp.encode_basic_auth("admin", self._node.password)},
            timeout=aiohttp.ClientTimeout(total=60),
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def roll_over(self, dataset: str) -> None:
        """Give a stream a new backing index: the same `_id` would be taken there a second time. Raises NotShown."""
        await self._call("POST", f"/logs-sekisho.{dataset}-default/_rollover")

    async def two_of(self, dataset: str) -> tuple[Held, Held]:
        """Return the two latest requests that are whole. Raises NotShown."""
        query = {"size": 2, "sort": [{"@timestamp": "desc"}], "query": {"exists": {"field": "event.end"}}}
        stream = f"/logs-sekisho.{dataset}-default"
        await self._call("POST", f"{stream}/_refresh")
        hits = (await self._call("POST", f"{stream}/_search", query))["hits"]["hits"]
        require(len(hits) == 2, "there are not two whole requests")
        one, other = (Held(hit["_id"], hit["_index"], hit["_source"]) for hit in hits)
        return one, other

    async def delete(self, held: Held) -> None:
        """Delete a document. Raises NotShown."""
        await self._call("DELETE", f"/{held.backing}/_doc/{held.id}?refresh=true")

    async def edit(self, held: Held, fields: dict[str, Any]) -> None:
        """Overwrite fields of a document. Raises NotShown."""
        now = await self._call("GET", f"/{held.backing}/_doc/{held.id}")
        condition = f"if_seq_no={now['_seq_no']}&if_primary_term={now['_primary_term']}&refresh=true"
        await self._call("PUT", f"/{held.backing}/_doc/{held.id}?{condition}", {**now["_source"], **fields})

    async def forge(self, dataset: str, held: Held, name: str) -> None:
        """Add a document like another one under an id of no record. Raises NotShown."""
        path = f"/logs-sekisho.{dataset}-default/_create/{name}?refresh=true"
        await self._call("PUT", path, {**held.body, "event.id": name}, 201)

    async def stored(self) -> Stored:
        """Read every document of every backing index, page by page of one point in time. Raises NotShown.

        Two more answers of the server must agree: its count, and no `event.id` that two documents share.
        """
        await self._call("POST", f"/{_STREAMS}/_refresh")
        point = (await self._call("POST", f"/{_STREAMS}/_pit?keep_alive=1m"))["id"]
        found, hits = Stored(), 0
        query: dict[str, Any] = {"size": _PAGE, "sort": ["_shard_doc"], "pit": {"id": point, "keep_alive": "1m"}}
        while page := (await self._call("POST", "/_search", query))["hits"]["hits"]:
            for hit in page:
                found.take(hit)
            hits += len(page)
            query["search_after"] = page[-1]["sort"]
        shared = {"size": 10, "field": "event.id", "min_doc_count": 2}
        question = {
            "size": 0, "track_total_hits": True, "aggs": {"shared": {"terms": shared}},
            "pit": query["pit"],
        }  # fmt: skip
        told = await self._call("POST", "/_search", question)
        await self._call("DELETE", "/_pit", {"id": point})
        require(told["hits"]["total"]["value"] == hits, f"the server counts {told['hits']['total']}, {hits} were read")
        twice = [bucket["key"] for bucket in told["aggregations"]["shared"]["buckets"]]
        require(not twice, f"several documents have one event.id: {twice}")
        return found

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None, expected: int = 200) -> Any:
        if self._session is None:
            raise RuntimeError("the server is not asked inside its block")
        async with self._session.request(method, path, json=body) as answer:
            content = await answer.json()
            require(answer.status == expected, f"{method} {path[:40]} answered {answer.status}: {str(content)[:200]}")
            return content
