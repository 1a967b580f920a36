"""A process that keeps records and says on stdout what it was told, as `<w|s|x> <number>` lines.

`python -m tests.support.journal_process DIR COUNT [wait] [steady]`: appends COUNT records, half of them `synced`, a few
an iteration. `w N` / `s N`: record N was reported as written / synced; `x N`: it was refused. The answer goes out by
one writev() each, so that its order among the journal's own system calls can be seen, and none of them is counted with
it. `wait`: after a refusal go on once the journal is healthy. `steady`: one record at a time, so that two runs make the
same system calls.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy
from tests.support import short_writes


def say(what: str, number: int) -> None:
    """Tell the parent, unbuffered."""
    os.writev(1, [f"{what} {number}\n".encode()])


async def run(root: Path, count: int, *, patient: bool, steady: bool) -> None:
    """Append, tell, end."""
    size, stall = (1500, 30.0) if steady else (3000, 1.0)  # a slow machine must not add an epoch of its own
    journal = Journal(root, "worker-0", segment_bytes=size, segment_age=3600, stall_limit=stall)
    journal.open(asyncio.get_running_loop())
    for number in range(count):
        synced = number % 2 == 0
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None, at: int = number, told: asyncio.Future[None] = told) -> None:
            say("x" if error else "s" if at % 2 == 0 else "w", at)
            if not told.done():
                told.set_result(None)

        try:
            journal.append(event(Action.REQUEST_DECIDED, 1.0, {"sekisho.count": number}), synced, done)
        except JournalUnhealthy:
            say("x", number)
            if patient:
                async with asyncio.timeout(60):
                    while not journal.healthy:  # noqa: ASYNC110 (a thread's state: nothing to await)
                        await asyncio.sleep(0.01)
            continue
        if steady or number % 3 == 0:
            await told
    journal.close(5)


if __name__ == "__main__":
    short_writes.install(Path(sys.argv[1]))
    options = sys.argv[3:]
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), patient="wait" in options, steady="steady" in options))
