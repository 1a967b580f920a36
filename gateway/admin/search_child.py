"""The child process of one search that goes on: a job on standard input, NDJSON out, ends when its input closes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import orjson

from audit.query import Query, query_of
from audit.search import follow
from audit.verify import IntegrityError
from audit.weight import lighten


def main() -> int:
    """Carry out the job; returns the exit status. What went wrong is the last line of standard error."""
    lighten()
    job: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    query = query_of(job)
    try:
        asyncio.run(_follow(Path(job["journals"]), query))
    except (IntegrityError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 (this process has no log: its parent reads the line)
        return 1
    return 0


async def _follow(root: Path, query: Query) -> None:
    async for record in follow(root, query):
        sys.stdout.buffer.write(orjson.dumps(record) + b"\n")
        sys.stdout.buffer.flush()


def _end_with_input() -> None:
    """Exit as soon as whoever asked is gone. Reads below `sys.stdin`, whose lock the interpreter needs to end."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
