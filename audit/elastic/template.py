"""The templates of the data streams `logs-sekisho.<dataset>-<namespace>`, made from the table of fields.

Pure: names and JSON values only. The mapping is strict inside `sekisho`, so that a field nobody declared is an error
that is seen, and takes nothing it does not know elsewhere (`dynamic: false` keeps it in `_source`).
Retention is a component of its own that an operator may replace; nothing else depends on it. It has two forms: a data
stream's own lifecycle, and an index lifecycle policy (ILM) for clusters that manage theirs by those.
Source: Elastic, "Data streams", "Index templates" (priority over the built-in `logs-*-*`, 100, and Fleet's, 200),
"Data stream lifecycle settings", "Create or update lifecycle policy".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from audit.ecs import ECS_VERSION, FIELDS

DATASETS: Final = ("access", "auth", "session", "admin", "posture", "policy", "anomaly", "health")
PRIORITY: Final = 500
MAPPINGS: Final = "sekisho@mappings"
SETTINGS: Final = "sekisho@settings"
LIFECYCLE: Final = "sekisho@lifecycle"
CUSTOM: Final = "sekisho@custom"
POLICY: Final = "sekisho"  # the name of the index lifecycle policy
KEYWORD_BYTES: Final = 8191  # Lucene's longest term is 32,766 bytes of UTF-8; four bytes a character

_COPY_FIELDS: Final[Mapping[str, str]] = {
    "sekisho.journal.writer": "keyword",
    "sekisho.journal.epoch": "long",
    "sekisho.journal.seq": "long",
    "sekisho.journal.completed_seq": "long",
    "sekisho.checkpoint.text": "text",
}
"""Fields that documents have and records have not."""

VERSION: Final = len(FIELDS) + len(_COPY_FIELDS)
"""Of the templates: grows with the table of fields, which is only ever appended to."""

_TYPES: Final[Mapping[str, dict[str, Any]]] = {
    "keyword": {"type": "keyword", "ignore_above": KEYWORD_BYTES},
    "text": {"type": "text"},
    "long": {"type": "long"},
    "float": {"type": "double"},
    "boolean": {"type": "boolean"},
    "ip": {"type": "ip"},
    "date": {"type": "date"},
    "object": {"type": "object", "enabled": False},
}


CHANGEABLE: Final[Mapping[str, Any]] = {"mapping.total_fields.limit": 1000}
"""Index settings that an index takes while it is open."""


def stream(dataset: str, namespace: str) -> str:
    """Return the data stream's name; an unknown dataset raises ValueError."""
    if dataset not in DATASETS:
        raise ValueError(f"dataset: got {dataset!r}, expected one of {', '.join(DATASETS)}")
    return f"logs-sekisho.{dataset}-{namespace}"


def properties() -> dict[str, Any]:
    """Return the mapping's `properties` as a tree of names."""
    tree: dict[str, Any] = {}
    for name, kind in sorted({**FIELDS, **_COPY_FIELDS}.items()):
        *path, leaf = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {"properties": {}})["properties"]
        node[leaf] = dict(_TYPES[kind.removesuffix("[]")])
    tree["sekisho"]["dynamic"] = "strict"
    return tree


class Form(StrEnum):
    """In which form retention is told to the cluster."""

    STREAM = "stream"  # the data stream's own lifecycle
    POLICY = "ilm"  # an index lifecycle policy


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How long documents are kept. `retention` as Elasticsearch spells it ("365d"); "" leaves it to the cluster."""

    retention: str = ""
    form: Form = Form.STREAM

    @property
    def by_policy(self) -> bool:
        """Whether a policy has to be put."""
        return bool(self.retention) and self.form is Form.POLICY

    def component(self) -> dict[str, Any]:
        """Return what the lifecycle component says; only where there is a retention."""
        if self.by_policy:
            return {"settings": {"index": {"lifecycle": {"name": POLICY}}}}
        return {"lifecycle": {"data_retention": self.retention}}

    def policy(self) -> dict[str, Any]:
        """Return the body of the index lifecycle policy: an index a month, or earlier where it grows large."""
        phases = {
            "hot": {"actions": {"rollover": {"max_age": "30d", "max_primary_shard_size": "50gb"}}},
            "delete": {"min_age": self.retention, "actions": {"delete": {}}},
        }
        return {"policy": {"_meta": {"managed_by": "sekisho"}, "phases": phases}}


FOR_EVER: Final = Lifecycle()


def mappings() -> dict[str, Any]:
    """Return the whole mapping."""
    return {"dynamic": False, "date_detection": False, "properties": properties()}


def component_templates(lifecycle: Lifecycle = FOR_EVER) -> dict[str, dict[str, Any]]:
    """Return name → body; the lifecycle component only where there is a retention."""
    meta = {"managed_by": "sekisho", "ecs_version": ECS_VERSION}
    made: dict[str, dict[str, Any]] = {
        MAPPINGS: {
            "template": {"mappings": mappings()},
            "version": VERSION,
            "_meta": meta,
        },
        SETTINGS: {
            "template": {"settings": {"index": {"codec": "best_compression", **CHANGEABLE}}},
            "version": VERSION,
            "_meta": meta,
        },
    }
    if lifecycle.retention:
        made[LIFECYCLE] = {"template": lifecycle.component(), "version": VERSION, "_meta": meta}
    return made


def index_templates(lifecycle: Lifecycle = FOR_EVER) -> dict[str, dict[str, Any]]:
    """Return name → body, one for each dataset; an operator's own `sekisho@custom` is taken in where it exists."""
    parts = [MAPPINGS, SETTINGS, *([LIFECYCLE] if lifecycle.retention else []), CUSTOM]
    return {
        f"logs-sekisho.{dataset}": {
            "index_patterns": [f"logs-sekisho.{dataset}-*"],
            "data_stream": {},
            "composed_of": parts,
            "ignore_missing_component_templates": [CUSTOM],
            "priority": PRIORITY,
            "version": VERSION,
            "_meta": {"managed_by": "sekisho"},
        }
        for dataset in DATASETS
    }


def roles(namespace: str) -> dict[str, dict[str, Any]]:
    """Return the privileges of the two keys: one only creates documents, one only reads our own streams."""
    names = [f"logs-sekisho.*-{namespace}"]

    def only(*privileges: str) -> dict[str, Any]:
        return {"cluster": [], "index": [{"names": names, "privileges": list(privileges)}]}

    return {
        "write": {"sekisho_write": only("create_doc", "auto_configure")},
        "read": {"sekisho_read": only("read", "view_index_metadata")},
    }
