"""A process that keeps records and says on stdout what it was told, as `<w|s|x> <number>` lines.

`python -m tests.support.journal_process DIR COUNT [wait]`: appends COUNT records, half of them `synced`, a few an
iteration. `w N` / `s N`: record N was reported as written / synced; `x N`: it was refused. The answer goes out by one
write() each, so that its order among the journal's own system calls can be seen.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy


def say(what: str, number: int) -> None:
    """Tell the parent, unbuffered."""
    os.write(1, f"{what} {number}\n".encode())


async def run(root: Path, count: int, patient: bool) -> None:
    """Append, tell, end; `patient`: after a refusal wait until the journal is healthy again."""
    journal = Journal(root, "worker-0", segment_bytes=3000, segment_age=3600)
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
                async with asyncio.timeout(20):
                    while not journal.healthy:  # noqa: ASYNC110 (a thread's state: nothing to await)
                        await asyncio.sleep(0.01)
            continue
        if number % 3 == 0:
            await told
    journal.close(5)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), "wait" in sys.argv[3:]))
