"""The templates of the data streams `logs-sekisho.<dataset>-<namespace>`, made from the table of fields.

Pure: names and JSON values only. The mapping is strict inside `sekisho`, so that a field nobody declared is an error
that is seen, and takes nothing it does not know elsewhere (`dynamic: false` keeps it in `_source`).
Retention is a component of its own that an operator may replace; nothing else depends on it.
Source: Elastic, "Data streams", "Index templates" (priority over the built-in `logs-*-*`, 100, and Fleet's, 200).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from audit.ecs import ECS_VERSION, FIELDS

DATASETS: Final = ("access", "auth", "session", "admin", "posture", "policy", "anomaly", "health")
PRIORITY: Final = 500
VERSION: Final = 1
MAPPINGS: Final = "sekisho@mappings"
SETTINGS: Final = "sekisho@settings"
LIFECYCLE: Final = "sekisho@lifecycle"
CUSTOM: Final = "sekisho@custom"
KEYWORD_BYTES: Final = 8191  # Lucene's longest term is 32,766 bytes of UTF-8; four bytes a character

_COPY_FIELDS: Final[Mapping[str, str]] = {
    "sekisho.journal.writer": "keyword",
    "sekisho.journal.epoch": "long",
    "sekisho.journal.seq": "long",
    "sekisho.journal.completed_seq": "long",
    "sekisho.checkpoint.text": "text",
}
"""Fields that documents have and records have not."""

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


def component_templates(retention: str = "") -> dict[str, dict[str, Any]]:
    """Return name → body. `retention` ("365d") adds the lifecycle component; empty leaves it out."""
    meta = {"managed_by": "sekisho", "ecs_version": ECS_VERSION}
    made: dict[str, dict[str, Any]] = {
        MAPPINGS: {
            "template": {"mappings": {"dynamic": False, "date_detection": False, "properties": properties()}},
            "version": VERSION,
            "_meta": meta,
        },
        SETTINGS: {
            "template": {"settings": {"index": {"codec": "best_compression", "mapping.total_fields.limit": 1000}}},
            "version": VERSION,
            "_meta": meta,
        },
    }
    if retention:
        made[LIFECYCLE] = {"template": {"lifecycle": {"data_retention": retention}}, "version": VERSION, "_meta": meta}
    return made


def index_templates(retention: str = "") -> dict[str, dict[str, Any]]:
    """Return name → body, one for each dataset; an operator's own `sekisho@custom` is taken in where it exists."""
    parts = [MAPPINGS, SETTINGS, *([LIFECYCLE] if retention else []), CUSTOM]
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
