"""The shipper against a real Elasticsearch with security on.

What is stored is counted by a query of this file's own (`_search` over HTTP with the administrator's password): nothing
of the shipper's code takes part in the check.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import elasticsearch
import pytest

from audit.documents import Document
from audit.elastic import delivery
from audit.elastic.bootstrap import Keys, make_keys, put_templates
from audit.elastic.client import ElasticAccess, ElasticIndex
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.shipper import Shipper, ShipperPaths
from cli.tour.elasticsearch import Node
from cli.tour.stage import NotShown
from cli.tour.stored import Server, Stored
from tests.support.elasticsearch_node import elasticsearch_node
from tests.unit.audit.test_shipper import NOW, write_journal

__all__ = ["elasticsearch_node"]
pytestmark = pytest.mark.timeout(600)


def admin(node: Node) -> elasticsearch.AsyncElasticsearch:
    return elasticsearch.AsyncElasticsearch(node.url, basic_auth=("admin", node.password), request_timeout=60)


def call(node: Node, method: str, path: str, body: Mapping[str, Any] | None = None, expected: int = 200) -> Any:
    credentials = base64.b64encode(f"admin:{node.password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == expected, content[:500]
    return json.loads(content)


def stored_ids(node: Node, namespace: str) -> Counter[str]:
    """Every `_id` in the namespace's streams, as often as it is there."""
    call(node, "POST", f"/logs-sekisho.*-{namespace}/_refresh")
    found: Counter[str] = Counter()
    after: list[Any] = []
    while True:
        query: dict[str, Any] = {"size": 1000, "_source": False, "sort": [{"sekisho.journal.seq": "asc"}, "_doc"]}
        if after:
            query["query"] = {"range": {"sekisho.journal.seq": {"gt": after[0]}}}
        hits = call(node, "POST", f"/logs-sekisho.*-{namespace}/_search", query)["hits"]["hits"]
        if not hits:
            return found
        found.update(hit["_id"] for hit in hits)
        after = hits[-1]["sort"]


@pytest.fixture(scope="module")
def prepared(elasticsearch_node: Node) -> Node:
    async def main() -> None:
        async with admin(elasticsearch_node) as client:
            await put_templates(client)

    asyncio.run(main())
    return elasticsearch_node


def keys(node: Node, namespace: str) -> Keys:
    async def main() -> Keys:
        async with admin(node) as client:
            return await make_keys(client, namespace)

    return asyncio.run(main())


def access(node: Node, namespace: str) -> ElasticAccess:
    made = keys(node, namespace)
    return ElasticAccess(node.url, None, made.write, made.read, namespace)


def expected(count: int) -> Counter[str]:
    return Counter({f"worker-0:1:{seq}": 1 for seq in range(1, count + 1)})


def paths(tmp_path: Path) -> ShipperPaths:
    return ShipperPaths(tmp_path / "cursor.json", tmp_path / "dead.ndjson")


async def ship_all(shipper: Shipper) -> None:
    while await shipper.step():
        pass


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a count of the shipper's, which announces nothing."""
    while not holds():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)


def test_everything_arrives_once_and_a_second_run_adds_nothing(prepared: Node, tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 3000)
    where = access(prepared, "once")

    async def main() -> None:
        async with ElasticIndex(where) as index:
            await ship_all(Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW))
            (tmp_path / "cursor.json").unlink()
            again = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            await ship_all(again)
            assert (again.counts.created, again.counts.already) == (0, 3000)

    asyncio.run(main())
    assert stored_ids(prepared, "once") == expected(3000)


def test_the_writing_key_can_only_create_and_the_reading_key_only_read(prepared: Node) -> None:
    where = access(prepared, "keys")

    async def refused(key: str, action: str) -> int:
        async with elasticsearch.AsyncElasticsearch(where.url, api_key=key) as client:
            stream = "logs-sekisho.access-keys"
            body = {"@timestamp": "2026-01-01T00:00:00Z"}
            try:
                match action:
                    case "create":
                        await client.create(index=stream, id="one", document=body)
                    case "search":
                        await client.search(index=stream)
                    case "delete":
                        await client.perform_request("DELETE", f"/_data_stream/{stream}")
            except elasticsearch.ApiError as error:
                return int(error.status_code)
            return 200

    async def main() -> None:
        assert await refused(where.write_key, "create") == 200
        assert await refused(where.read_key, "search") == 200
        assert await refused(where.write_key, "search") == 403
        assert await refused(where.write_key, "delete") == 403
        assert await refused(where.read_key, "create") == 403
        assert await refused(where.read_key, "delete") == 403

    asyncio.run(main())


def test_unknown_field_is_set_aside_with_the_servers_reason(prepared: Node, tmp_path: Path) -> None:
    where = access(prepared, "strict")
    good = Document("good", "access", {"@timestamp": "2026-01-01T00:00:00Z", "sekisho.reason": "allowed"})
    bad = Document("bad", "access", {"@timestamp": "2026-01-01T00:00:00Z", "sekisho.nobody_declared": "x"})

    async def main() -> None:
        async with ElasticIndex(where) as index:
            shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            await shipper.deliver((good, bad))
            assert (shipper.counts.created, shipper.counts.rejected) == (1, 1)

    asyncio.run(main())
    letter = json.loads((tmp_path / "dead.ndjson").read_text())
    assert letter["id"] == "bad"
    assert "strict_dynamic_mapping_exception" in letter["reason"]


class AnswerLost(ElasticIndex):
    """The real index, but the answer to the first batch is lost after the server carried it out, and it rolls over."""

    lost = False

    def roll(self, node: Node, namespace: str) -> None:
        self._node, self._space = node, namespace

    async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
        answer = await super().create(documents)
        if self.lost:
            return answer
        self.lost = True
        await asyncio.to_thread(call, self._node, "POST", f"/logs-sekisho.session-{self._space}/_rollover")
        raise IndexUnavailable(IndexFault.UNCERTAIN, "ConnectionError")


@pytest.mark.promise("P6.no-duplicates-over-rollover")
def test_rollover_between_a_lost_answer_and_the_retry_doubles_nothing(
    prepared: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SETTLE", 0.1)
    write_journal(tmp_path / "journal", 500)
    where = access(prepared, "rollover")

    async def main() -> None:
        async with AnswerLost(where) as index:
            index.roll(prepared, "rollover")
            await ship_all(Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW))

    asyncio.run(main())
    assert stored_ids(prepared, "rollover") == expected(500)
    backing = call(prepared, "GET", "/_data_stream/logs-sekisho.session-rollover")["data_streams"][0]["indices"]
    assert len(backing) == 2


def test_write_block_is_waited_for(prepared: Node, tmp_path: Path) -> None:
    last = write_journal(tmp_path / "journal", 50)
    where = access(prepared, "blocked")

    async def main() -> None:
        async with ElasticIndex(where) as index:
            shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            await shipper.step()
            stream = "logs-sekisho.session-blocked"
            await asyncio.to_thread(call, prepared, "PUT", f"/{stream}/_settings", {"index.blocks.write": True})
            write_journal(tmp_path / "journal", 50, start=51, prev=last)
            sending = asyncio.create_task(ship_all(shipper))
            await until(lambda: shipper.counts.put_off > 0)
            await asyncio.to_thread(call, prepared, "PUT", f"/{stream}/_settings", {"index.blocks.write": False})
            await asyncio.wait_for(sending, 150)

    asyncio.run(main())
    assert stored_ids(prepared, "blocked") == expected(100)


@pytest.mark.promise("P6.nothing-lost-when-the-server-is-killed")
def test_server_killed_and_back_while_shipping(prepared: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SETTLE", 0.5)
    monkeypatch.setattr(delivery, "BATCH_DOCUMENTS", 200)
    write_journal(tmp_path / "journal", 6000)
    where = access(prepared, "killed")

    async def main() -> None:
        async with ElasticIndex(where, timeout=10) as index:
            shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            sending = asyncio.create_task(ship_all(shipper))
            await until(lambda: shipper.counts.created >= 1000)
            await asyncio.to_thread(prepared.kill)
            prepared.start()
            await asyncio.to_thread(prepared.await_ready)
            await asyncio.wait_for(sending, 200)
            assert shipper.counts.faults > 0

    asyncio.run(main())
    assert stored_ids(prepared, "killed") == expected(6000)


def test_the_tours_own_count_sees_a_document_that_two_backing_indices_hold(prepared: Node) -> None:
    body = {"@timestamp": "2026-01-01T00:00:00Z", **{f"sekisho.journal.{name}": 1 for name in ("epoch", "seq")}}
    body["sekisho.journal.writer"] = "worker-0"

    async def main() -> Stored:
        async with admin(prepared) as client, Server(prepared) as server:
            for name in ("one", "two"):
                await client.create(index="logs-sekisho.access-default", id=name, document=body | {"event.id": name})
            assert (await server.stored()).places == {"one": ["worker-0:1:1"], "two": ["worker-0:1:1"]}
            await server.roll_over("access")
            await client.create(index="logs-sekisho.access-default", id="two", document=body)
            found = await server.stored()
            await server.roll_over("access")
            await client.create(index="logs-sekisho.access-default", id="two", document=body | {"event.id": "two"})
            with pytest.raises(NotShown, match=r"one event\.id: \['two'\]"):
                await server.stored()
            return found

    found = asyncio.run(main())
    assert (found.places["two"], len(found.indices)) == (["worker-0:1:1"] * 2, 2)
