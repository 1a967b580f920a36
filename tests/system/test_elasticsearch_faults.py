"""What a real Elasticsearch, its administrators and proxies before it do to a shipper: each document once, or aside.

What is stored is counted by `test_elasticsearch_shipping.stored_ids`, over HTTP with the administrator's password.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from audit.documents import Document
from audit.elastic import delivery
from audit.elastic.client import ElasticIndex
from audit.elastic.keys import Cluster, KeyedIndex
from audit.elastic.shipper import Shipper
from cli.tour.elasticsearch import Node
from tests.support.elasticsearch_node import elasticsearch_node
from tests.support.hostile_proxy import INSTEAD, HostileProxy
from tests.system.test_elasticsearch_shipping import (
    access,
    call,
    expected,
    keys,
    paths,
    prepared,
    ship_all,
    stored_ids,
    until,
)
from tests.unit.audit.test_shipper import NOW, write_journal

__all__ = ["elasticsearch_node", "prepared"]
pytestmark = pytest.mark.timeout(600)
AT = {"@timestamp": "2026-01-01T00:00:00Z"}


def letters(tmp_path: Path) -> dict[str, str]:
    """Document id → reason of what was set aside."""
    lines = (tmp_path / "dead.ndjson").read_text().splitlines()
    return {row["id"]: row["reason"] for row in map(json.loads, lines)}


def deliver(node: Node, namespace: str, tmp_path: Path, *documents: Document) -> Shipper:
    where = access(node, namespace)

    async def main() -> Shipper:
        async with ElasticIndex(where) as index:
            shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            await shipper.deliver(documents)
            return shipper

    return asyncio.run(main())


def test_what_the_server_will_not_take_is_set_aside_and_the_rest_stored(prepared: Node, tmp_path: Path) -> None:
    shipper = deliver(
        prepared, "conflict", tmp_path,
        Document("good", "access", AT | {"http.response.status_code": 200}),
        Document("conflict", "access", AT | {"http.response.status_code": "two hundred"}),
        Document("no-time", "access", {"event.action": "x"}),
        Document("long" * 200, "access", dict(AT)),
        Document("not-an-address", "access", AT | {"source.ip": "10.0.0"}),
    )  # fmt: skip
    assert stored_ids(prepared, "conflict") == Counter({"good": 1})
    found = letters(tmp_path)
    assert shipper.counts.rejected == len(found) == 4
    assert found["long" * 200] == "the id is too long"
    assert {name for name, reason in found.items() if "document_parsing_exception" in reason} >= {
        "conflict", "not-an-address",
    }  # fmt: skip


def test_what_a_failure_store_took_is_set_aside(prepared: Node, tmp_path: Path) -> None:
    ours = call(prepared, "GET", "/_index_template/logs-sekisho.access")["index_templates"][0]["index_template"]
    options = {"data_stream_options": {"failure_store": {"enabled": True}}}
    theirs = ours | {
        "index_patterns": ["logs-sekisho.access-failing"], "priority": ours["priority"] + 1,
        "template": ours.get("template", {}) | options,
    }  # fmt: skip
    call(prepared, "PUT", "/_index_template/failing", theirs)
    deliver(prepared, "failing", tmp_path,
            Document("good", "access", dict(AT)), Document("bad", "access", AT | {"source.ip": "nowhere"}))  # fmt: skip
    assert stored_ids(prepared, "failing") == Counter({"good": 1})
    assert "failure store" in letters(tmp_path)["bad"]


def test_a_stream_deleted_by_hand_is_made_again(prepared: Node, tmp_path: Path) -> None:
    last = write_journal(tmp_path / "journal", 30)
    where = access(prepared, "deleted")

    async def main() -> None:
        async with ElasticIndex(where) as index:
            shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            await ship_all(shipper)
            await asyncio.to_thread(call, prepared, "DELETE", "/_data_stream/logs-sekisho.session-deleted")
            write_journal(tmp_path / "journal", 30, start=31, prev=last)
            await ship_all(shipper)
            assert shipper.counts.rejected == 0

    asyncio.run(main())
    assert stored_ids(prepared, "deleted") == expected(60) - expected(30)


@pytest.mark.promise("P6.keys-replaced-while-it-ships")
def test_an_invalidated_key_is_waited_for_and_its_successor_taken(prepared: Node, tmp_path: Path) -> None:
    last = write_journal(tmp_path / "journal", 30)
    files = {name: tmp_path / "keys" / name for name in ("write", "read")}
    files["write"].parent.mkdir()
    made = keys(prepared, "renewed")
    files["write"].write_text(made.write)
    files["read"].write_text(made.read)
    cluster = Cluster(prepared.url, None, files["write"], files["read"], "renewed")

    async def main() -> None:
        index = KeyedIndex(cluster)
        shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
        await ship_all(shipper)
        for kind in files:
            name = {"name": f"sekisho-{kind}-renewed"}
            await asyncio.to_thread(call, prepared, "DELETE", "/_security/api_key", name)
        write_journal(tmp_path / "journal", 30, start=31, prev=last)
        sending = asyncio.create_task(ship_all(shipper))
        await until(lambda: "401" in shipper.counts.last_fault)
        new = await asyncio.to_thread(keys, prepared, "renewed")
        files["write"].write_text(new.write)
        files["read"].write_text(new.read)
        await asyncio.wait_for(sending, 150)
        await index.close()
        assert shipper.counts.rejected == 0

    asyncio.run(main())
    assert stored_ids(prepared, "renewed") == expected(60)


def test_a_key_for_another_namespace_sets_nothing_aside(prepared: Node, tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 10)
    foreign = replace(access(prepared, "theirs"), namespace="ours")

    async def main() -> None:
        async with ElasticIndex(foreign) as index:
            shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            sending = asyncio.create_task(ship_all(shipper))
            await until(lambda: shipper.counts.faults + shipper.counts.put_off > 0)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert (shipper.counts.rejected, shipper.counts.created) == (0, 0)

    asyncio.run(main())
    assert not (tmp_path / "dead.ndjson").exists()


def blocked(node: Node, on: bool) -> None:
    call(node, "PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only": True if on else None}})


def test_a_read_only_cluster_is_waited_for(prepared: Node, tmp_path: Path) -> None:
    last = write_journal(tmp_path / "journal", 10)
    where = access(prepared, "readonly")

    async def main() -> None:
        async with ElasticIndex(where) as index:
            shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            await ship_all(shipper)
            await asyncio.to_thread(blocked, prepared, True)
            try:
                write_journal(tmp_path / "journal", 10, start=11, prev=last)
                sending = asyncio.create_task(ship_all(shipper))
                await until(lambda: shipper.counts.faults > 0)
            finally:
                await asyncio.to_thread(blocked, prepared, False)
            await asyncio.wait_for(sending, 150)

    asyncio.run(main())
    assert stored_ids(prepared, "readonly") == expected(20)


@pytest.mark.promise("P6.answers-of-others-double-nothing")
def test_whatever_stands_between_nothing_is_lost_and_nothing_twice(
    prepared: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SETTLE", 0.2)
    monkeypatch.setattr(delivery, "BATCH_DOCUMENTS", 100)
    write_journal(tmp_path / "journal", 2000)
    script = ["", "cut", *INSTEAD, "lost", "", "unsent", "cut", "lost"]
    where = access(prepared, "between")
    stream = "logs-sekisho.session-between"

    async def main() -> list[str]:
        async with HostileProxy(prepared.port, *script) as proxy, ElasticIndex(replace(where, url=proxy.url)) as index:
            shipper = Shipper(tmp_path / "journal", paths(tmp_path), index, lambda: NOW)
            sending = asyncio.create_task(ship_all(shipper))
            for count in (5, 9, 13):
                await until(rolls(proxy, count))
                await asyncio.to_thread(call, prepared, "POST", f"/{stream}/_rollover")
            await asyncio.wait_for(sending, 200)
            assert (shipper.counts.rejected, proxy.script) == (0, [])
            return proxy.used

    used = asyncio.run(main())
    assert set(used) >= {"cut", "lost", "unsent", *INSTEAD}
    assert stored_ids(prepared, "between") == expected(2000)


def rolls(proxy: HostileProxy, count: int) -> Callable[[], bool]:
    """Whether so many words of the script were used."""
    return lambda: len(proxy.used) >= count or not proxy.script
