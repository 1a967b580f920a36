"""One errand at the cluster, in a process of its own: `python -m audit.elastic.setup`, a job on standard input.

The job is one JSON object (`op`: bootstrap, check, retry), the answer another on standard output; a fault is one line
on standard error and exit code 1. An administrator's password comes in the job, never in arguments or the environment,
and goes nowhere but to the cluster. Keys go into files of mode 0600, never into the answer.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import elasticsearch
import orjson
from elastic_transport.client_utils import DEFAULT

from audit import durable
from audit.dead_letters import Letter, letters, settle
from audit.documents import Document
from audit.elastic.bootstrap import key_steps, put_templates, template_steps, upgrade
from audit.elastic.check import ask, check_key, check_mappings, check_streams, check_templates
from audit.elastic.index import IndexUnavailable
from audit.elastic.keys import Cluster, KeyedIndex, access_of
from audit.elastic.outcome import outcome
from audit.elastic.template import Form, Lifecycle

Job = dict[str, Any]


def cluster_of(job: Job) -> Cluster:
    """Return where the cluster of a job is."""
    ca = job.get("ca")
    return Cluster(
        job["url"], Path(ca) if ca else None, Path(job["write_key_file"]), Path(job["read_key_file"]), job["namespace"]
    )


def lifecycle_of(job: Job) -> Lifecycle:
    """Return the retention that a job asks for."""
    return Lifecycle(job.get("retention", ""), Form(job.get("lifecycle", Form.STREAM)))


def _client(cluster: Cluster, **credentials: Any) -> elasticsearch.AsyncElasticsearch:
    ca = DEFAULT if cluster.ca is None else str(cluster.ca)
    return elasticsearch.AsyncElasticsearch(
        cluster.url, ca_certs=ca, request_timeout=30, max_retries=0, retry_on_timeout=False, **credentials
    )


async def bootstrap(job: Job) -> dict[str, Any]:
    """Put the templates, bring streams that stand up to date, and make the keys whose files are not there.

    With `dry_run` say only what would be sent; what stands is not asked then.
    """
    cluster, lifecycle = cluster_of(job), lifecycle_of(job)
    files = {"write": cluster.write_key_file, "read": cluster.read_key_file}
    steps = dict(zip(files, key_steps(cluster.namespace), strict=True))
    missing = [kind for kind, path in files.items() if not path.exists()]
    if job.get("dry_run"):
        planned = [*template_steps(lifecycle), *(steps[kind] for kind in missing)]
        return {"steps": [asdict(step) for step in planned], "keys": {kind: str(files[kind]) for kind in missing}}
    async with _client(cluster, basic_auth=(job["user"], job["password"])) as client:
        put = await put_templates(client, lifecycle)
        brought = await upgrade(client, cluster.namespace, lifecycle)
        for kind in missing:
            answer = await ask(client, "POST", steps[kind].path, steps[kind].body)
            durable.make_directory(files[kind].parent)
            durable.replace(files[kind], str(answer["encoded"]).encode() + b"\n", 0o600)
    return {"templates": put, "streams": brought, "keys": {kind: str(files[kind]) for kind in missing}}


async def check(job: Job) -> dict[str, Any]:
    """Look whether keys and streams are right; the templates too where an administrator's password is given."""
    cluster = cluster_of(job)
    access = access_of(cluster)
    async with (
        _client(cluster, api_key=access.write_key) as writing,
        _client(cluster, api_key=access.read_key) as reading,
    ):
        found = await check_key(writing, "write", cluster.namespace)
        found += await check_key(reading, "read", cluster.namespace)
        found += await check_streams(reading, cluster.namespace)
        found += await check_mappings(reading, cluster.namespace)
    if job.get("user"):
        async with _client(cluster, basic_auth=(job["user"], job["password"])) as client:
            found += await check_templates(client, lifecycle_of(job))
    return {"items": found, "good": all(item["good"] for item in found), "templates_checked": bool(job.get("user"))}


async def retry(job: Job) -> dict[str, Any]:
    """Send dead letters again; those stored by now, or stored already, are settled."""
    folder, wanted = Path(job["folder"]), set(job.get("ids", ()))
    chosen = [letter for letter in letters(folder) if not wanted or letter.id in wanted]
    index = KeyedIndex(cluster_of(job))
    stored: list[Letter] = []
    refused: list[dict[str, str]] = []
    try:
        for letter in chosen:
            document = Document(letter.id, letter.dataset, letter.body)
            if await index.stored([document]):
                stored.append(letter)
                continue
            result = outcome([document], await index.create([document]))
            if result.created or result.already:
                stored.append(letter)
            else:
                reason = result.rejected[0].reason if result.rejected else result.waiting_for
                refused.append({"id": letter.id, "reason": reason})
    finally:
        settle(folder, [letter.number for letter in stored])
        await index.close()
    return {"stored": [letter.id for letter in stored], "refused": refused}


OPERATIONS = {"bootstrap": bootstrap, "check": check, "retry": retry}


def main() -> int:
    """Carry out the job; returns the exit code."""
    job: Job = orjson.loads(sys.stdin.buffer.read())
    try:
        answer = asyncio.run(OPERATIONS[job["op"]](job))
    except (IndexUnavailable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(orjson.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
