"""The comparison against a real Elasticsearch with security on, tampered with by its administrator.

Documents get there by the shipper, are read with the reading key, and what an administrator does to them is plain HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.auditor import Auditor
from audit.checkpoint import Signer, generate
from audit.elastic.checkpoints import checkpoint_document
from audit.elastic.client import ElasticIndex
from audit.elastic.shipper import Shipper, ShipperPaths
from audit.event import Action
from cli.tour.elasticsearch import Node
from tests.support.elasticsearch_node import elasticsearch_node
from tests.support.small_copy import NOON, Writer
from tests.system.test_elasticsearch_shipping import access, call, prepared, ship_all, stored_ids

__all__ = ["elasticsearch_node", "prepared"]
pytestmark = pytest.mark.timeout(600)
HOUR = 3600


@dataclass
class Shipped:
    """A trail of a few hundred documents over three hours, shipped into a namespace of its own."""

    node: Node
    namespace: str
    root: Path
    key: Signer

    def compare(self, *, repair: bool = False) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """Run the comparison as control does; return the names by kind, and the summary."""
        job = {
            "url": self.node.url, "ca": "", "namespace": self.namespace, "folder": str(self.root / "elastic"),
            "write_key_file": str(self.root / "keys" / "write"), "read_key_file": str(self.root / "keys" / "read"),
            "journals": str(self.root / "journal"), "log": str(self.root / "log"),
            "public_key": str(self.root / "log.pub"), "since": NOON // HOUR * HOUR, "until": NOON + 6 * HOUR,
            "repair": repair,
        }  # fmt: skip
        with subprocess.Popen(
            [sys.executable, "-m", "audit.elastic.reconciling"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:  # fmt: skip
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdin.write(json.dumps(job).encode() + b"\n")
            child.stdin.flush()
            lines = [json.loads(line) for line in child.stdout]
            assert child.wait() == 0, child.stderr.read()
        self.rows = [line["row"] for line in lines if "row" in line]
        summary = lines[-1]["summary"]
        return {each["kind"]: sorted(each["names"]) for each in summary["findings"]}, summary

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Act as the cluster's administrator."""
        answer = call(self.node, method, path, body)
        call(self.node, "POST", f"/logs-sekisho.*-{self.namespace}/_refresh")
        return answer

    def edit(self, index: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Overwrite fields of a stored document; return what was there."""
        held = call(self.node, "GET", f"/{index}/_doc/{name}")
        condition = f"if_seq_no={held['_seq_no']}&if_primary_term={held['_primary_term']}"
        self.ask("PUT", f"/{index}/_doc/{name}?{condition}", held["_source"] | fields)
        body: dict[str, Any] = held["_source"]
        return body

    def put(self, dataset: str, name: str, body: dict[str, Any]) -> None:
        """Create a document through its stream."""
        path = f"/{self.stream(dataset)}/_bulk"
        self._lines("POST", path, [{"create": {"_id": name}}, body])

    def _lines(self, method: str, path: str, rows: list[dict[str, Any]]) -> None:
        credentials = base64.b64encode(f"admin:{self.node.password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/x-ndjson"}
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        connection.request(method, f"{path}?refresh=true", "".join(json.dumps(row) + "\n" for row in rows), headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        assert not answer["errors"], answer

    def stream(self, dataset: str) -> str:
        return f"logs-sekisho.{dataset}-{self.namespace}"

    def backing(self, dataset: str) -> list[str]:
        told = call(self.node, "GET", f"/_data_stream/{self.stream(dataset)}")["data_streams"][0]["indices"]
        return [row["index_name"] for row in told]

    def index(self) -> ElasticIndex:
        keys = access(self.node, self.namespace)
        folder = self.root / "keys"
        folder.mkdir()
        (folder / "write").write_text(keys.write_key)
        (folder / "read").write_text(keys.read_key)
        return ElasticIndex(keys)


@pytest.fixture
def shipped(prepared: Node, tmp_path: Path, request: pytest.FixtureRequest) -> Shipped:
    journals = tmp_path / "journal"
    worker, control = Writer(journals, "worker-0"), Writer(journals, "control")
    for number in range(100):
        wall = NOON + number * 90
        worker.request(f"R{number}", wall)
        worker.refusal(f"N{number}", wall + 2)
        control.add(Action.SESSION_ENDED, wall, {"sekisho.session.id": f"s{number}", "user.name": "佐藤"})
    key = generate("gate.example/log")
    (tmp_path / "log.pub").write_text(key.verifier.encode())
    auditor = Auditor(journals, tmp_path / "log", key)
    while auditor.poll():
        continue
    assert auditor.commit() is not None
    auditor.close()
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    made = Shipped(prepared, name, tmp_path, key)
    folder = tmp_path / "elastic"
    folder.mkdir()

    held = made.index()

    async def main() -> None:
        async with held as index:
            paths = ShipperPaths(folder / "cursor.json", folder / "dead-letters.ndjson")
            shipper = Shipper(journals, paths, index, lambda: NOON + 9000)
            await ship_all(shipper)
            await shipper.deliver([checkpoint_document((tmp_path / "log" / "checkpoint").read_text(), NOON + 9001)])

    asyncio.run(main())
    call(prepared, "POST", f"/logs-sekisho.*-{name}/_refresh")  # a checkpoint is found by search alone
    return made


def test_what_was_just_shipped_agrees(shipped: Shipped) -> None:
    found, summary = shipped.compare()

    assert found == {}
    assert (summary["total"]["journal"], summary["total"]["stored"], summary["total"]["checkpoints"]) == (300, 300, 1)
    shipped.ask("POST", f"/{shipped.stream('access')}/_refresh")
    found, summary = shipped.compare()
    assert (found, summary["inspected"], summary["equal"]) == ({}, 0, True)
    assert {(row["dataset"], row["journal"] == row["stored"]) for row in shipped.rows} >= {("access", True)}


def test_deleted_documents_are_named_and_exactly_they_are_sent_again(shipped: Shipped) -> None:
    before = stored_ids(shipped.node, shipped.namespace)
    (access_index,), (session_index,) = shipped.backing("access"), shipped.backing("session")
    for index, name in ((access_index, "R5"), (access_index, "N5"), (session_index, "control:1:9")):
        shipped.ask("DELETE", f"/{index}/_doc/{name}")

    found, summary = shipped.compare()
    assert found == {"missing": ["N5", "R5", "control:1:9"]}
    assert summary["findings"][0]["gaps"] == ["control:1:9", "worker-0:1:16-18"]
    _, mended = shipped.compare(repair=True)
    assert (mended["total"]["sent"], mended["mended"]) == (3, True)
    assert stored_ids(shipped.node, shipped.namespace) == before
    assert shipped.compare()[1]["equal"]


def test_edited_forged_and_doubled_documents_are_named(shipped: Shipped) -> None:
    (index,) = shipped.backing("access")
    body = shipped.edit(index, "R5", {"user.name": "someone else"})
    shipped.edit(index, "R6", {"@timestamp": "2026-09-21T16:00:00.000Z"})
    forged = body | {"event.id": "F1", "http.request.id": "F1"}
    shipped.put("access", "F1", forged)
    shipped.put("access", "F2", {"@timestamp": body["@timestamp"], "sekisho.journal.writer": "worker-7"})
    shipped.ask("POST", f"/{shipped.stream('access')}/_rollover")
    shipped.put("access", "R7", call(shipped.node, "GET", f"/{index}/_doc/R7")["_source"])

    found, summary = shipped.compare()
    assert found == {"changed": ["R5", "R6"], "foreign": ["F1", "F2"], "twice": ["R7"]}
    assert not shipped.compare(repair=True)[1]["mended"]
    assert not summary["equal"]


def test_an_index_deleted_by_hand_is_found_whole_and_stored_again(shipped: Shipped) -> None:
    before = stored_ids(shipped.node, shipped.namespace)
    shipped.ask("DELETE", f"/_data_stream/{shipped.stream('access')}")

    found, summary = shipped.compare()
    assert (len(found["missing"]), summary["total"]["missing"]) == (50, 200)
    assert summary["findings"][0]["gaps"] == ["worker-0:1:1-300"]
    assert shipped.compare(repair=True)[1]["mended"]
    assert shipped.compare()[1]["equal"]
    assert stored_ids(shipped.node, shipped.namespace) == before


def test_an_older_state_of_the_copy_lacks_what_came_since(shipped: Shipped) -> None:
    """A snapshot that is put back is a copy without the latest documents."""
    (index,) = shipped.backing("access")
    for number in range(90, 100):
        for name in (f"R{number}", f"N{number}"):
            shipped.ask("DELETE", f"/{index}/_doc/{name}")

    found, summary = shipped.compare()
    assert found == {"missing": sorted(f"{letter}{number}" for letter in "RN" for number in range(90, 100))}
    assert summary["findings"][0]["gaps"] == ["worker-0:1:271-300"]


def test_a_rolled_back_trail_contradicts_the_checkpoints_of_the_copy(shipped: Shipped) -> None:
    other = Signed(shipped)
    other.shorten()

    found, _ = shipped.compare()
    assert found["checkpoint"][0].startswith("checkpoint:gate.example/log:400: ")


class Signed:
    """Somebody who has the signing key and puts a shorter trail in the place of the true one."""

    def __init__(self, shipped: Shipped) -> None:
        self._shipped = shipped

    def shorten(self) -> None:
        root = self._shipped.root
        (root / "log").rename(root / "true-log")
        path = next((root / "journal" / "control").glob("*.active"))
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:50]))
        auditor = Auditor(root / "journal", root / "log", self._shipped.key)
        while auditor.poll():
            continue
        auditor.commit()
        auditor.close()
