"""One search of the copy in a process of its own (`audit.errand`): `python -m audit.elastic.asking`.

The job has the cluster (`audit.elastic.setup.cluster_of`) and a query as `audit.index.query` takes it, with `by` where
only the numbers are wanted; the answers are the same.
"""

from __future__ import annotations

import asyncio
import sys

import elasticsearch
from elastic_transport.client_utils import DEFAULT

from audit.elastic.index import IndexUnavailable
from audit.elastic.keys import access_of
from audit.elastic.search import CopySearch
from audit.elastic.setup import cluster_of
from audit.errand import Job, run, tell
from audit.query import kinds, query_of

_PATIENCE = 60.0  # seconds for one call


def carry_out(job: Job) -> None:
    """Answer a job; raises `IndexUnavailable`."""
    asyncio.run(_ask(job))


async def _ask(job: Job) -> None:
    access, query = access_of(cluster_of(job)), query_of(job)
    async with elasticsearch.AsyncElasticsearch(
        access.url, api_key=access.read_key, ca_certs=DEFAULT if access.ca is None else str(access.ca),
        request_timeout=_PATIENCE, max_retries=0,
    ) as client:  # fmt: skip
        copy = CopySearch(client, access.namespace)
        if job.get("by") is None:
            async for event in copy.search(query):
                tell(event)
            return
        for row in kinds(await copy.count(query, job["by"]), query.limit):
            tell(row)


if __name__ == "__main__":
    sys.exit(run(carry_out, IndexUnavailable))
