"""Prepares a cluster with an administrator's credentials: templates, the two keys, and what stands there already.

Everything is named before it is done (`Step`), so that `--dry-run` prints exactly what would be sent. Templates are put
again as they are: doing it twice changes nothing. Keys are made only where none is stored.

Templates count for new backing indices only. So after an upgrade that brought new fields, the mapping is put to every
stream that stands (fields are only ever added, which an index takes while it is written to); until then documents with
a new field are dead letters, because `sekisho` is strict. A stream whose indices cannot take it gets a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import elastic_transport
import elasticsearch

from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.template import (
    CHANGEABLE,
    FOR_EVER,
    POLICY,
    Lifecycle,
    component_templates,
    index_templates,
    mappings,
    roles,
)

_BAD: Final = 400


@dataclass(frozen=True, slots=True)
class Step:
    """One call: method, path and body as they go over the wire."""

    method: str
    path: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Keys:
    """The two API keys in their `encoded` form. Secrets: to files of mode 0600, nowhere else."""

    write: str
    read: str

    def __repr__(self) -> str:
        return "Keys(…)"


def template_steps(lifecycle: Lifecycle = FOR_EVER) -> tuple[Step, ...]:
    """Return the calls that put the policy where there is one, and the templates, components first."""
    policy = [Step("PUT", f"/_ilm/policy/{POLICY}", lifecycle.policy())] if lifecycle.by_policy else []
    components = (
        Step("PUT", f"/_component_template/{name}", body) for name, body in component_templates(lifecycle).items()
    )
    indices = (Step("PUT", f"/_index_template/{name}", body) for name, body in index_templates(lifecycle).items())
    return (*policy, *components, *indices)


def upgrade_steps(name: str, lifecycle: Lifecycle = FOR_EVER) -> tuple[Step, ...]:
    """Return the calls that bring a stream that stands to where a new one would be: settings, mapping, retention."""
    settings = {"index": dict(CHANGEABLE)}
    if lifecycle.by_policy:
        settings["index"]["lifecycle.name"] = POLICY
    steps = [Step("PUT", f"/{name}/_settings", settings), Step("PUT", f"/{name}/_mapping", mappings())]
    if lifecycle.retention and not lifecycle.by_policy:
        steps.append(Step("PUT", f"/_data_stream/{name}/_lifecycle", {"data_retention": lifecycle.retention}))
    return tuple(steps)


def key_steps(namespace: str) -> tuple[Step, ...]:
    """Return the calls that make the two keys."""
    return tuple(
        Step("POST", "/_security/api_key", {"name": f"sekisho-{kind}-{namespace}", "role_descriptors": descriptors})
        for kind, descriptors in roles(namespace).items()
    )


async def put_templates(client: elasticsearch.AsyncElasticsearch, lifecycle: Lifecycle = FOR_EVER) -> int:
    """Put all templates; return how many calls that were. Raise `IndexUnavailable`."""
    steps = template_steps(lifecycle)
    for step in steps:
        await _perform(client, step)
    return len(steps)


async def streams(client: elasticsearch.AsyncElasticsearch, namespace: str) -> list[str]:
    """Return the names of our streams that stand; raise `IndexUnavailable`."""
    answer = await _perform(client, Step("GET", f"/_data_stream/logs-sekisho.*-{namespace}", {}))
    return sorted(row["name"] for row in answer["data_streams"])


async def upgrade(
    client: elasticsearch.AsyncElasticsearch, namespace: str, lifecycle: Lifecycle = FOR_EVER
) -> dict[str, str]:
    """Bring every stream of a namespace up to date; return name → `mapped` or `rolled over`. Raise `IndexUnavailable`.

    Rolled over is what an index's own mapping contradicts; what is new is stored rightly from then on.
    """
    done = {}
    for name in await streams(client, namespace):
        done[name] = "mapped"
        for step in upgrade_steps(name, lifecycle):
            try:
                await _perform(client, step)
            except IndexUnavailable as fault:
                if fault.fault is not IndexFault.BAD_BATCH or not step.path.endswith("/_mapping"):
                    raise
                await _perform(client, Step("POST", f"/{name}/_rollover", {}))
                done[name] = "rolled over"
    return done


async def make_keys(client: elasticsearch.AsyncElasticsearch, namespace: str) -> Keys:
    """Make both keys. Raise `IndexUnavailable`."""
    encoded = [str((await _perform(client, step))["encoded"]) for step in key_steps(namespace)]
    return Keys(write=encoded[0], read=encoded[1])


async def _perform(client: elasticsearch.AsyncElasticsearch, step: Step) -> dict[str, Any]:
    headers = {"accept": "application/json", "content-type": "application/json"}
    try:
        answer = await client.perform_request(step.method, step.path, headers=headers, body=step.body or None)
    except elasticsearch.ApiError as error:
        detail = f"{step.method} {step.path} answered {error.status_code} {error.message}"
        fault = IndexFault.BAD_BATCH if error.status_code == _BAD else IndexFault.REFUSED
        raise IndexUnavailable(fault, detail) from None
    except elastic_transport.TransportError as error:
        raise IndexUnavailable(IndexFault.UNCERTAIN, type(error).__name__) from None
    body = answer.body
    if not isinstance(body, dict):
        raise IndexUnavailable(IndexFault.BAD_BATCH, f"{step.path} answered no object")
    return body
