"""The whole gateway with a real Elasticsearch that is stopped, killed and started under traffic.

What must be there is counted from the journals' lines by this file, what is there by its own search over HTTP: no code
is shared with the shipper.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from audit.checkpoint import read_verifier
from cli.client import AdminClient
from cli.tour.elasticsearch import Node
from tests.support.canary_watch import CANARIES
from tests.support.elasticsearch_node import elasticsearch_node
from tests.support.growing_files import segments_of, whole_lines
from tests.support.operator import ask, operator, tell
from tests.support.running_city import RunningCity, running_city
from tests.system.test_elasticsearch_shipping import call

__all__ = ["elasticsearch_node"]
pytestmark = pytest.mark.timeout(600)
SOURCES = ("index", "journals", "elasticsearch")
NAMESPACE = "live"


def expected(city: RunningCity) -> Counter[str]:
    """One document a request, one a record that is no request; by the lines of the journals alone."""
    found: Counter[str] = Counter()
    for record in city.records("*"):
        action, request = record["event.action"], record.get("http.request.id")
        if action == "request.completed" or (action == "request.decided" and request):
            found[request] = 1
        else:
            found[f"{record['writer']}:{record['epoch']}:{record['seq']}"] += 1
    return found


def stored(node: Node) -> dict[str, list[Any]]:
    """Every document of the namespace: id → one source for each time it is there."""
    call(node, "POST", f"/logs-sekisho.*-{NAMESPACE}/_refresh")
    found: dict[str, list[Any]] = {}
    after: list[Any] = []
    while True:
        query: dict[str, Any] = {"size": 1000, "sort": [{"@timestamp": "asc"}, {"event.id": "asc"}, "_doc"]}
        if after:
            query["search_after"] = after
        hits = call(node, "POST", f"/logs-sekisho.*-{NAMESPACE}/_search", query)["hits"]["hits"]
        CANARIES.say("documents in Elasticsearch", json.dumps(hits).encode())
        if not hits:
            return found
        for hit in hits:
            found.setdefault(hit["_id"], []).append(hit["_source"])
        after = hits[-1]["sort"]


async def traffic(city: RunningCity, count: int) -> None:
    async with city.client() as client:
        for number in range(count):
            async with client.get(f"/page/{number}") as answer:
                assert answer.status == 200


def newest(city: RunningCity) -> float:
    """When something was last written to a journal; now, while a segment changes its name."""
    try:
        return max(path.stat().st_mtime for path in segments_of(city.root / "journal"))
    except FileNotFoundError:
        return time.time()


async def filed(city: RunningCity, path: Path) -> Counter[str]:
    """The documents in the outlet's file, once each record's is there: it goes its own way."""
    async with asyncio.timeout(120):
        while expected(city) - (found := ids_in(path)):  # noqa: ASYNC110 (another process's file)
            await asyncio.sleep(0.5)
    return found


def ids_in(path: Path) -> Counter[str]:
    return Counter(json.loads(line)["event"]["id"] for line in whole_lines(path))


async def caught_up(city: RunningCity) -> dict[str, Any]:
    """Wait until nothing is behind and the last checkpoint is sent; the file is read, as asking is recorded."""
    async with asyncio.timeout(240):
        while True:
            status: dict[str, Any] = json.loads(
                (city.root / "state" / "auditor" / "elastic" / "status.json").read_bytes()
            )
            quiet = time.time() - newest(city)
            if status["lag_records"] == 0 and not status["checkpoints_waiting"] and status["created"] and quiet > 7:
                return status
            await asyncio.sleep(0.5)


async def counted_alike(client: AdminClient, until: float) -> None:
    """Whoever is asked how many records there are of each act and verdict tells the same."""
    told = []
    for source in SOURCES:
        body = {"until": until, "by": ["event.action", "sekisho.verdict"], "source": source, "limit": 1000}
        told.append(await asyncio.to_thread(lambda body=body: list(client.stream("/v1/events/count", body))))
    assert told[0] == told[1] == told[2]
    (forwarded,) = [row["count"] for row in told[0] if row["values"] == ["request.decided", "forward"]]
    assert forwarded > 500


async def shipped(client: Any) -> None:
    """Wait until the first documents are stored."""
    async with asyncio.timeout(120):
        while not (await ask(client, "/v1/elasticsearch")).get("created"):  # noqa: ASYNC110 (a file tells)
            await asyncio.sleep(0.3)


async def prepare(city: RunningCity, client: Any, password: str) -> None:
    plan = await tell(client, "/v1/elasticsearch/bootstrap", reason="導入", dry_run=True)
    assert [step["path"] for step in plan["plan"]][-2:] == ["/_security/api_key"] * 2
    assert not (city.root / "keys" / "es-write").exists()
    administrator = {"user": "admin", "password": password}
    await tell(client, "/v1/elasticsearch/bootstrap", reason="導入", **administrator)
    for name in ("es-write", "es-read"):
        assert stat.S_IMODE((city.root / "keys" / name).stat().st_mode) == 0o600
    checked = await tell(client, "/v1/elasticsearch/check", **administrator)
    assert [item for item in checked["items"] if not item["good"]] == []
    assert checked["templates_checked"]
    assert password not in str(city.records("control"))


async def kill(city: RunningCity, name: str) -> None:
    os.kill(next(each["pid"] for each in city.status["processes"] if each["name"] == name), signal.SIGKILL)


@pytest.mark.promise("P6.whole-system-nothing-lost-nothing-twice")
def test_server_and_auditor_killed_under_traffic_lose_and_double_nothing(
    elasticsearch_node: Node, tmp_path: Path
) -> None:
    node = elasticsearch_node

    async def main() -> None:
        keys = tmp_path / "city" / "keys"
        environment = {
            "SEKISHO_ELASTICSEARCH__URL": node.url, "SEKISHO_ELASTICSEARCH__NAMESPACE": NAMESPACE,
            "SEKISHO_ELASTICSEARCH__WRITE_KEY_FILE": str(keys / "es-write"),
            "SEKISHO_ELASTICSEARCH__READ_KEY_FILE": str(keys / "es-read"),
            "SEKISHO_OUTLETS__NDJSON__PATH": str(tmp_path / "out" / "sekisho.ndjson"),
        }  # fmt: skip
        async with running_city(tmp_path, **environment) as city:
            await city.furnish()
            ciso = await operator(city, "ciso")
            await traffic(city, 50)
            await prepare(city, ciso, node.password)
            await traffic(city, 100)
            await shipped(ciso)
            await asyncio.gather(traffic(city, 200), asyncio.to_thread(node.kill))
            await kill(city, "auditor")
            node.start()
            await asyncio.to_thread(node.await_ready)
            await traffic(city, 200)
            await asyncio.to_thread(node.stop)
            await traffic(city, 100)
            node.start()
            await asyncio.to_thread(node.await_ready)
            status = await caught_up(city)
            assert status["dead_letters_total"] == 0
            found = await asyncio.to_thread(stored, node)
            wanted = expected(city)
            assert wanted.total() > 500
            signed = {name: rows for name, rows in found.items() if name.startswith("checkpoint:")}
            counted = Counter({name: len(rows) for name, rows in found.items() if name not in signed})
            assert wanted - counted == Counter()
            assert [name for name in counted - wanted if not name.endswith(".open")] == []
            proven(city, signed)
            written = await filed(city, tmp_path / "out" / "sekisho.ndjson")
            assert [name for name in written - expected(city) if not name.endswith(".open")] == []
            await counted_alike(ciso, time.time() - 6)
            await named(city, ciso, node)
            (outlet,) = (await ask(ciso, "/v1/status"))["outlets"]
            assert (outlet["running"], outlet["fault"]) == (True, "")

    asyncio.run(main())


async def compared(client: AdminClient, what: str, **body: Any) -> dict[str, Any]:
    """Run the product's own comparison; return its summary."""
    lines = await asyncio.to_thread(lambda: list(client.stream(f"/v1/elasticsearch/{what}", body)))
    summary: dict[str, Any] = lines[-1]["summary"]
    return summary


async def named(city: RunningCity, client: AdminClient, node: Node) -> None:
    """The comparison agrees; what the cluster's administrator deletes then is named, recorded, a case, and mended."""
    assert (await compared(client, "reconcile"))["equal"]
    hit = call(node, "POST", f"/logs-sekisho.access-{NAMESPACE}/_search", {"size": 1})["hits"]["hits"][0]
    call(node, "DELETE", f"/{hit['_index']}/_doc/{hit['_id']}?refresh=true")
    found = await compared(client, "reconcile")
    assert [(each["kind"], each["names"]) for each in found["findings"]] == [("missing", [hit["_id"]])]
    assert (await compared(client, "repair", reason="欠けの送り直し"))["mended"]
    assert (await compared(client, "reconcile"))["equal"]
    records = [each for each in city.records("control") if each["event.action"].startswith("copy.")]
    found_each = ["copy.reconciled", "copy.differs"]
    assert [each["event.action"] for each in records] == [found_each[0], *found_each, *found_each, found_each[0]]
    assert records[2]["sekisho.reconcile.gaps"]
    async with asyncio.timeout(60):
        while not (await ask(client, "/v1/anomalies"))["items"]:  # noqa: ASYNC110 (another process looks)
            await asyncio.sleep(0.3)
    (case,) = (await ask(client, "/v1/anomalies"))["items"]
    assert case["kinds"] == ["copy_lacks"]
    assert "--repair" in case["command"]


def proven(city: RunningCity, signed: dict[str, list[Any]]) -> None:
    """Every checkpoint that was sent opens with the installation's public key; the last is the log's own."""
    verifier = read_verifier((city.root / "keys" / "checkpoint.pub").read_text())
    sizes = [verifier.open(rows[0]["sekisho.checkpoint.text"]).size for rows in signed.values()]
    assert len(sizes) >= 2
    assert all(len(rows) == 1 for rows in signed.values())
    assert len(set(sizes)) == len(sizes)
