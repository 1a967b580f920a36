"""The child process of one search that goes on (`audit.errand`): what is recorded from now on, as NDJSON."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from audit.errand import Job, run, tell
from audit.query import query_of
from audit.reader import IntegrityError
from audit.search import follow


def carry_out(job: Job) -> None:
    """Follow until whoever asked is gone; raises IntegrityError, OSError."""
    asyncio.run(_follow(job))


async def _follow(job: Job) -> None:
    async for record in follow(Path(job["journals"]), query_of(job)):
        tell(record)


if __name__ == "__main__":
    sys.exit(run(carry_out, IntegrityError, OSError))
