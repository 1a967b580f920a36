"""The templates on a real server: every field of every act fits, and upgrades reach the streams that stand."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.documents import Document
from audit.ecs import FIELDS
from audit.elastic import bootstrap
from audit.elastic.check import check_mappings, check_streams, check_templates, difference
from audit.elastic.client import ElasticIndex
from audit.elastic.outcome import outcome
from audit.elastic.setup import bootstrap as carried_out
from audit.elastic.shipper import Shipper, ShipperPaths
from audit.elastic.template import DATASETS, FOR_EVER, Lifecycle, mappings
from audit.event import SHAPES, Action, event
from cli.tour.elasticsearch import Node
from tests.support.elasticsearch_node import elasticsearch_node
from tests.system.test_elasticsearch_shipping import access, admin, call, prepared

__all__ = ["elasticsearch_node", "prepared"]
pytestmark = pytest.mark.timeout(600)
NOW = 1_790_000_000.0
SAMPLES: dict[str, Any] = {
    "keyword": "値 " + "x" * 200, "text": "出来事の説明", "long": 2**53, "float": 0.25, "boolean": True,
    "ip": "2001:db8::1", "date": "2026-11-22T08:15:00.123Z", "object": {"any": {"thing": [1, "二"]}, "a.b": None},
}  # fmt: skip


def sample(kind: str) -> Any:
    value = SAMPLES[kind.removesuffix("[]")]
    return [value, value] if kind.endswith("[]") else value


def every_act_with_every_field() -> Iterator[Document]:
    """One document for each act and field alone, and one for each act with all fields."""
    free = {name: kind for name, kind in FIELDS.items() if name not in ("@timestamp", "event.action", "event.dataset")}
    for action in Action:
        dataset = SHAPES[action].dataset.removeprefix("sekisho.")
        whole = event(action, NOW) | {name: sample(kind) for name, kind in free.items()}
        yield Document(f"{action.value}:whole", dataset, whole)
        for name, kind in free.items():
            yield Document(f"{action.value}:{name}", dataset, event(action, NOW) | {name: sample(kind)})


def test_every_field_of_every_act_is_stored(prepared: Node) -> None:
    documents = list(every_act_with_every_field())
    where = access(prepared, "every")

    async def main() -> None:
        async with ElasticIndex(where) as index:
            for start in range(0, len(documents), 2000):
                part = documents[start : start + 2000]
                result = outcome(part, await index.create(part))
                assert [(each.document.id, each.reason) for each in result.rejected] == []
                assert len(result.created) == len(part)

    asyncio.run(main())
    assert len(documents) == len(Action) * (len(FIELDS) - 2)


def old_mapping() -> dict[str, Any]:
    """The mapping of an older version, which has no `sekisho.reconcile`."""
    older = copy.deepcopy(mappings())
    del older["properties"]["sekisho"]["properties"]["reconcile"]
    return older


def at_an_older_version(node: Node, namespace: str) -> Any:
    """Put an older version's mapping and let each stream have an index of it; return the way there."""
    where = access(node, namespace)
    call(node, "PUT", "/_component_template/sekisho@mappings", {"template": {"mappings": old_mapping()}})

    async def main() -> None:
        async with ElasticIndex(where) as index:
            first = [
                Document(f"first-{dataset}", dataset, {"@timestamp": "2026-01-01T00:00:00Z"}) for dataset in DATASETS
            ]
            assert len(outcome(first, await index.create(first)).created) == len(DATASETS)

    asyncio.run(main())
    return where


NEW = Document("new", "health", event(Action.COPY_RECONCILED, NOW, {"sekisho.reconcile.missing": 3}))


def test_an_upgrade_reaches_the_streams_that_stand(prepared: Node, tmp_path: Path) -> None:
    where = at_an_older_version(prepared, "upgraded")
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "write").write_text(where.write_key)
    (keys / "read").write_text(where.read_key)
    job = {
        "url": prepared.url, "namespace": "upgraded", "write_key_file": str(keys / "write"),
        "read_key_file": str(keys / "read"), "user": "admin", "password": prepared.password,
    }  # fmt: skip

    async def main() -> dict[str, Any]:
        async with ElasticIndex(where) as index, admin(prepared) as client:
            shipper = Shipper(tmp_path, ShipperPaths(tmp_path / "cursor", tmp_path / "dead"), index, lambda: NOW)
            await shipper.deliver([NEW])
            assert "strict_dynamic_mapping_exception" in json.loads((tmp_path / "dead").read_text())["reason"]
            found = await check_mappings(client, "upgraded")
            assert {item["good"] for item in found} == {False}
            assert "sekisho.properties.reconcile: missing: sekisho es bootstrap" in found[0]["detail"]
            told = await carried_out(job)
            assert all(item["good"] for item in await check_mappings(client, "upgraded"))
            assert all(item["good"] for item in await check_streams(client, "upgraded"))
            assert all(item["good"] for item in await check_templates(client, FOR_EVER))
            await shipper.deliver([NEW])
            assert (shipper.counts.rejected, shipper.counts.created) == (1, 1)
            return told

    told = asyncio.run(main())
    assert set(told["streams"].values()) == {"mapped"}
    assert len(told["streams"]) == len(DATASETS)
    streams = call(prepared, "GET", "/_data_stream/logs-sekisho.*-upgraded")["data_streams"]
    assert {len(row["indices"]) for row in streams} == {1}  # nothing was rolled over


def test_a_stream_whose_index_contradicts_gets_a_new_one(prepared: Node) -> None:
    where = access(prepared, "contradicted")
    spoilt = old_mapping()
    spoilt["properties"]["sekisho"]["properties"]["reconcile"] = {"properties": {"missing": {"type": "keyword"}}}
    call(prepared, "PUT", "/_component_template/sekisho@mappings", {"template": {"mappings": spoilt}})

    async def main() -> dict[str, str]:
        async with ElasticIndex(where) as index, admin(prepared) as client:
            await index.create([Document("first", "health", {"@timestamp": "2026-01-01T00:00:00Z"})])
            await bootstrap.put_templates(client)
            done = await bootstrap.upgrade(client, "contradicted")
            assert len(outcome([NEW], await index.create([NEW])).created) == 1
            assert all(item["good"] for item in await check_mappings(client, "contradicted"))
            return done

    assert asyncio.run(main()) == {"logs-sekisho.health-contradicted": "rolled over"}


def test_retention_as_the_streams_own_lifecycle_is_taken_and_given_back(prepared: Node) -> None:
    async def put(lifecycle: Lifecycle) -> None:
        async with admin(prepared) as client:
            await bootstrap.put_templates(client, lifecycle)
            assert all(item["good"] for item in await check_templates(client, lifecycle))

    asyncio.run(put(Lifecycle("365d")))
    simulated = call(prepared, "POST", "/_index_template/_simulate/logs-sekisho.health")["template"]
    assert simulated["lifecycle"]["data_retention"] == "365d"
    asyncio.run(put(FOR_EVER))
    assert "lifecycle" not in call(prepared, "POST", "/_index_template/_simulate/logs-sekisho.health")["template"]


def test_a_difference_is_told_by_its_place() -> None:
    ours = {"a": {"properties": {"b": {"type": "long"}}}}
    assert difference(ours, {"a": {"properties": {"b": {"type": "long"}}}}) == ""
    assert difference(ours, {"a": {"properties": {}}}) == ".a.properties.b: missing"
    assert difference(ours, {"a": {"properties": {"b": {"type": "keyword"}}}}).startswith(".a.properties.b.type: got")
