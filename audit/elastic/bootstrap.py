"""Prepares a cluster, once, with an administrator's credentials: templates, and the two keys.

Everything is named before it is done (`steps`), so that `--dry-run` prints exactly what would be sent. Templates are
put again as they are: doing it twice changes nothing. Keys are made only where none is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import elastic_transport
import elasticsearch

from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.template import component_templates, index_templates, roles


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


def template_steps(retention: str = "") -> tuple[Step, ...]:
    """Return the calls that put the templates, components first."""
    components = (
        Step("PUT", f"/_component_template/{name}", body) for name, body in component_templates(retention).items()
    )
    indices = (Step("PUT", f"/_index_template/{name}", body) for name, body in index_templates(retention).items())
    return (*components, *indices)


def key_steps(namespace: str) -> tuple[Step, ...]:
    """Return the calls that make the two keys."""
    return tuple(
        Step("POST", "/_security/api_key", {"name": f"sekisho-{kind}-{namespace}", "role_descriptors": descriptors})
        for kind, descriptors in roles(namespace).items()
    )


async def put_templates(client: elasticsearch.AsyncElasticsearch, retention: str = "") -> int:
    """Put all templates; return how many. Raise `IndexUnavailable`."""
    steps = template_steps(retention)
    for step in steps:
        await _perform(client, step)
    return len(steps)


async def make_keys(client: elasticsearch.AsyncElasticsearch, namespace: str) -> Keys:
    """Make both keys. Raise `IndexUnavailable`."""
    encoded = [str((await _perform(client, step))["encoded"]) for step in key_steps(namespace)]
    return Keys(write=encoded[0], read=encoded[1])


async def _perform(client: elasticsearch.AsyncElasticsearch, step: Step) -> dict[str, Any]:
    headers = {"accept": "application/json", "content-type": "application/json"}
    try:
        answer = await client.perform_request(step.method, step.path, headers=headers, body=step.body)
    except elasticsearch.ApiError as error:
        detail = f"{step.method} {step.path} answered {error.status_code} {error.message}"
        raise IndexUnavailable(IndexFault.REFUSED, detail) from None
    except elastic_transport.TransportError as error:
        raise IndexUnavailable(IndexFault.UNCERTAIN, type(error).__name__) from None
    body = answer.body
    if not isinstance(body, dict):
        raise IndexUnavailable(IndexFault.BAD_BATCH, f"{step.path} answered no object")
    return body
