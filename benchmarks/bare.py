"""The edge alone, in a process of its own: `python -m benchmarks.bare PORT UPSTREAM_PORT`."""

from __future__ import annotations

import asyncio
import gc
import sys

import uvloop

from tests.support.edge import serve_bare


def main(port: int, upstream: int) -> None:
    """Serve until the process is ended; garbage is collected as seldom as in a worker."""
    gc.set_threshold(50_000, 20, 50)
    gc.freeze()
    uvloop.run(serve_bare(port, f"http://127.0.0.1:{upstream}", asyncio.Event()))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
