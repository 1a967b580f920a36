"""A worker process with nothing but the state feed: it tells on stdout what it learns, one JSON line each.

`python -m tests.support.feed_worker FEED_SOCKET NAME`. For each session that ends it claims to have closed three
connections. A line on stdin `ask <hex>` asks the steward for a token, `use <session>` reports a use just now.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from gateway.state.changes import Change
from gateway.state.feed import FeedClient
from gateway.state.view import View

CLOSED_EACH = 3


def tell(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def _listen(feed: FeedClient, view: View) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, _, rest = line.strip().partition(" ")
        if verb == "ask":
            tell(found=await feed.ask(rest))
        elif verb == "use":
            feed.report_use({rest: view.now(time.monotonic())})
        elif verb == "look":
            tell(
                sessions=sorted(view.sessions), revision=view.revision, age=round(view.age(time.monotonic()), 3),
                jumped=view.clock_jumped, policy=view.policy.hash if view.policy else None,
            )  # fmt: skip


async def _main(path: Path, name: str) -> None:
    view = View()

    def on_change(change: Change) -> dict[str, int]:
        tell(revision=change.revision, ended=change.ended, everything=change.everything, at=time.time())
        return dict.fromkeys(change.ended, CLOSED_EACH)

    feed = FeedClient(path, name, view, on_change)
    running = asyncio.create_task(feed.run())
    await feed.counted.wait()
    tell(counted=True, sessions=len(view.sessions))
    listening = asyncio.create_task(_listen(feed, view))
    await running
    await listening


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
