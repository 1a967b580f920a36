"""Whether a cluster stands as we need it: templates as ours, keys that can do what they must and nothing else, streams.

Keys are asked what they may (`_has_privileges`), never tried: a key that can delete must not be found out by deleting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import elastic_transport
import elasticsearch

from audit.elastic.bootstrap import template_steps
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.template import DATASETS, Lifecycle, properties, stream

_JSON: Final = {"accept": "application/json", "content-type": "application/json"}
MUST: Final[Mapping[str, tuple[str, ...]]] = {
    "write": ("create_doc", "auto_configure"),
    "read": ("read", "view_index_metadata"),
}
MUST_NOT: Final[Mapping[str, tuple[str, ...]]] = {
    "write": ("read", "delete", "delete_index", "index", "manage"),
    "read": ("create_doc", "write", "delete", "delete_index", "manage"),
}

Finding = dict[str, Any]
"""`what` was looked at, `good`, and `detail` where it is not."""


async def check_key(client: elasticsearch.AsyncElasticsearch, kind: str, namespace: str) -> list[Finding]:
    """Ask a key (`write` or `read`) what it may on our streams; raises `IndexUnavailable`."""
    names = [stream(dataset, namespace) for dataset in DATASETS]
    wanted = [*MUST[kind], *MUST_NOT[kind]]
    body = {"cluster": ["manage_security", "manage"], "index": [{"names": names, "privileges": wanted}]}
    answer = await ask(client, "POST", "/_security/user/_has_privileges", body)
    found = []
    for privilege in wanted:
        may = {bool(answer["index"][name][privilege]) for name in names}
        right = may == {privilege in MUST[kind]}
        detail = "" if right else f"expected {privilege in MUST[kind]} on all of our streams"
        found.append({"what": f"{kind} key: {privilege}", "good": right, "detail": detail})
    for privilege, may_cluster in answer["cluster"].items():
        detail = "no key of ours needs it" if may_cluster else ""
        found.append({"what": f"{kind} key: cluster {privilege}", "good": not may_cluster, "detail": detail})
    return found


async def check_streams(client: elasticsearch.AsyncElasticsearch, namespace: str) -> list[Finding]:
    """Look which data streams are there; one without records is made by its first. Raises `IndexUnavailable`."""
    answer = await ask(client, "GET", f"/_data_stream/logs-sekisho.*-{namespace}", None)
    there = {row["name"]: row for row in answer["data_streams"]}
    found = []
    for dataset in DATASETS:
        name = stream(dataset, namespace)
        row = there.get(name)
        if row is None:
            found.append({"what": f"stream {name}", "good": True, "detail": "no record yet"})
        else:
            ours = row.get("template") == f"logs-sekisho.{dataset}"
            detail = f"{len(row['indices'])} indices" if ours else f"made by template {row.get('template')}"
            found.append({"what": f"stream {name}", "good": ours, "detail": detail})
    return found


async def check_mappings(client: elasticsearch.AsyncElasticsearch, namespace: str) -> list[Finding]:
    """Look whether the index that each stream writes to knows every field. Raises `IndexUnavailable`."""
    answer = await ask(client, "GET", f"/_data_stream/logs-sekisho.*-{namespace}", None)
    found = []
    for row in answer["data_streams"]:
        index = row["indices"][-1]["index_name"]
        told = await ask(client, "GET", f"/{index}/_mapping", None)
        detail = difference(properties(), told[index]["mappings"].get("properties", {}))
        detail = f"{detail}: sekisho es bootstrap" if detail else ""
        found.append({"what": f"mapping {row['name']}", "good": not detail, "detail": detail})
    return found


async def check_templates(client: elasticsearch.AsyncElasticsearch, lifecycle: Lifecycle) -> list[Finding]:
    """Compare the stored templates with ours; needs an administrator. Raises `IndexUnavailable`."""
    found = []
    for step in template_steps(lifecycle):
        kind, name = step.path.strip("/").rsplit("/", 1)
        try:
            answer = await ask(client, "GET", step.path, None)
        except IndexUnavailable as fault:
            if "404" not in fault.detail:
                raise
            found.append({"what": f"template {name}", "good": False, "detail": "not there: sekisho es bootstrap"})
            continue
        if kind == "_ilm/policy":
            stored = answer[name]
        else:
            stored = answer[kind.removeprefix("_") + "s"][0][kind.removeprefix("_")]
        detail = difference(step.body, stored)
        found.append({"what": f"template {name}", "good": not detail, "detail": detail})
    return found


def difference(ours: Any, theirs: Any, place: str = "") -> str:
    """Return where `theirs` lacks or changes something of `ours`, "" = nowhere. A server may add and spell as text."""
    if isinstance(ours, Mapping):
        if not isinstance(theirs, Mapping):
            return f"{place}: got {theirs!r}, expected an object"
        flat = theirs.get("index", theirs) if "index" not in ours else theirs
        for name, value in ours.items():
            inner = flat.get(name)
            if inner is None and value not in ({}, None):
                inner = _nested(flat, name)
            if inner is None and value != {}:
                return f"{place}.{name}: missing"
            if told := difference(value, inner if inner is not None else {}, f"{place}.{name}"):
                return told
        return ""
    if isinstance(ours, list):
        same = isinstance(theirs, list) and [str(each) for each in theirs] == [str(each) for each in ours]
        return "" if same else f"{place}: got {theirs!r}, expected {ours!r}"
    return "" if str(ours).lower() == str(theirs).lower() else f"{place}: got {theirs!r}, expected {ours!r}"


def _nested(found: Any, name: str) -> Any:
    """Look a dotted name up in nested objects."""
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


async def ask(
    client: elasticsearch.AsyncElasticsearch, method: str, path: str, body: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Perform one call; raises `IndexUnavailable` with the status in its detail."""
    try:
        answer = await client.perform_request(method, path, headers=_JSON, body=body)
    except elasticsearch.ApiError as error:
        detail = f"{method} {path} answered {error.status_code} {error.message}"
        raise IndexUnavailable(IndexFault.REFUSED, detail) from None
    except elastic_transport.TransportError as error:
        raise IndexUnavailable(IndexFault.UNCERTAIN, f"{method} {path}: {type(error).__name__}") from None
    return dict(answer.body)
