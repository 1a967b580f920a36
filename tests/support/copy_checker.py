"""What Elasticsearch must hold by the journals' files, and what it does hold: the checker of the long runs.

It shares no code with the shipper, with what reads journals or with reconcile: lines are taken from the files and read
with `json`, a decision and its completion are put together here, and the documents of every backing index come over
plain HTTP with the administrator's password.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from backports import zstd

from cli.tour.elasticsearch import Node

_CHAIN: Final = {"v", "writer", "epoch", "seq", "prev"}
_IMPLIED: Final = {"event.dataset", "event.kind", "event.category", "event.type", "ecs.version"}
_OF_DECISION: Final = {"@timestamp", "event.action", *_IMPLIED, *_CHAIN}
_ADDED: Final = {
    "event.id", "event.end", "sekisho.journal.writer", "sekisho.journal.epoch", "sekisho.journal.seq",
    "sekisho.journal.completed_seq",
}  # fmt: skip


@dataclass
class Expected:
    """id → digest of what the lines say of it, and the names of the fields that they have."""

    digests: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    records: int = 0
    open: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put(self, name: str, body: dict[str, Any]) -> None:
        """Note one document; its fields are those of the lines, the chain's left out."""
        kept = {key: value for key, value in body.items() if key not in _CHAIN}
        assert name not in self.digests, f"the journals call for {name} twice"
        self.names[name] = _NAMES.setdefault(tuple(sorted(kept)), tuple(sorted(kept)))
        self.digests[name] = digest(kept, self.names[name])


_NAMES: dict[tuple[str, ...], tuple[str, ...]] = {}


def digest(body: dict[str, Any], names: tuple[str, ...]) -> bytes:
    """Return a digest of these fields of a document."""
    return hashlib.sha256(json.dumps([[name, body.get(name)] for name in names], sort_keys=True).encode()).digest()


def lines(journals: Path) -> Iterator[dict[str, Any]]:
    """Every record of every writer, in order, by the files alone."""
    for folder in sorted(each for each in journals.iterdir() if each.is_dir()):
        files: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            stem, _, form = path.name.partition(".")
            if form in {"active", "jsonl", "jsonl.zst"}:
                files[stem] = path  # of one segment in two forms either has the same lines
        for _, path in sorted(files.items()):
            data = path.read_bytes()
            data = zstd.decompress(data) if path.suffix == ".zst" else data
            for line in data.split(b"\n")[:-1]:
                yield json.loads(line)["body"]


def expected(journals: Path) -> Expected:
    """Put decisions and completions together, and name every document."""
    found = Expected()
    for body in lines(journals):
        found.records += 1
        action, request = body["event.action"], body.get("http.request.id")
        if action == "request.decided" and body["sekisho.verdict"] in {"forward", "local"}:
            found.open[request] = body
        elif action == "request.decided":
            found.put(request, body)
        elif action == "request.completed" and request in found.open:
            ended = {key: value for key, value in body.items() if key not in _OF_DECISION}
            found.put(request, found.open.pop(request) | ended)
        else:
            found.put(f"{body['writer']}:{body['epoch']}:{body['seq']}", body)
    return found


@dataclass
class Difference:
    """What is wrong with the copy; all empty: nothing."""

    lost: set[str]
    twice: set[str]
    foreign: set[str]
    changed: set[str]
    documents: int = 0
    indices: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        """The first few of each kind."""
        kinds = {"lost": self.lost, "twice": self.twice, "foreign": self.foreign, "changed": self.changed}
        return "; ".join(f"{name}: {len(ids)} {sorted(ids)[:5]}" for name, ids in kinds.items() if ids)


def compare(node: Node, namespace: str, wanted: Expected) -> Difference:
    """Read every document of every backing index and say what differs from what the journals call for."""
    found: Counter[str] = Counter()
    difference = Difference(set(), set(), set(), set())
    for hit in stored(node, namespace):
        name, body = hit["_id"], hit["_source"]
        found[name] += 1
        difference.indices.add(hit["_index"])
        if name.startswith("checkpoint:") or name.removesuffix(".open") != name:
            continue
        if name not in wanted.digests:
            difference.foreign.add(name)
        elif digest(body, wanted.names[name]) != wanted.digests[name] or (
            body.keys() - set(wanted.names[name]) - _IMPLIED - _ADDED
        ):
            difference.changed.add(name)
    difference.documents = found.total()
    difference.lost = wanted.digests.keys() - found.keys()
    difference.twice = {name for name, count in found.items() if count > 1}
    return difference


def stored(node: Node, namespace: str) -> Iterator[dict[str, Any]]:
    """Every document of the namespace's streams, by one point in time."""
    ask(node, "POST", f"/logs-sekisho.*-{namespace}/_refresh")
    point = ask(node, "POST", f"/logs-sekisho.*-{namespace}/_pit?keep_alive=5m")["id"]
    query: dict[str, Any] = {"size": 2000, "sort": ["_shard_doc"], "pit": {"id": point, "keep_alive": "5m"}}
    query["track_total_hits"] = False
    while hits := ask(node, "POST", "/_search", query)["hits"]["hits"]:
        yield from hits
        query["search_after"] = hits[-1]["sort"]


def ask(node: Node, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the cluster as its administrator; the answer must be 200."""
    credentials = base64.b64encode(f"admin:{node.password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=120)
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, content[:500]
    return json.loads(content)
