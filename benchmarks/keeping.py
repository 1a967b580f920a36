"""What keeping records costs: a journal's CPU beside SHA-256 and write() of the same bytes, in interleaved turns.

`python -m benchmarks.keeping ROUNDS` prints JSON. Records are decisions as the gateway makes them, a few appended in
each iteration of the loop, half of the iterations waiting for the write as a request does. CPU is user and system time
of loop and writer's thread.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from audit.journal import Journal
from audit.segment import body_of
from benchmarks import progress
from benchmarks.measure import Spread
from tests.support.passages import passages

RECORDS: Final = 40_000
_AT_ONCE: Final = 8  # records appended in one iteration
_SEGMENT: Final = 16 * 1024 * 1024


def payload() -> bytes:
    """One decision's event, as the gate encodes it."""
    body = body_of(passages()[0])
    return b"{" + body[body.index(b'"event.action"') :]


async def kept(folder: Path, event: bytes) -> None:
    """Append `RECORDS` records to a real journal and wait until all are kept."""
    journal = Journal(folder, "worker-0", segment_bytes=_SEGMENT, segment_age=3600)
    loop = asyncio.get_running_loop()
    journal.open(loop)
    for _ in range(0, RECORDS, _AT_ONCE):
        written: asyncio.Future[None] = loop.create_future()

        def done(error: BaseException | None, told: asyncio.Future[None] = written) -> None:
            told.set_result(None) if error is None else told.set_exception(error)

        for _ in range(_AT_ONCE - 1):
            journal.append_encoded(event, False, None)
        journal.append_encoded(event, False, done)
        await written
    journal.close(30)


def plain(folder: Path, event: bytes) -> None:
    """Hash each record's bytes and write as many at once, with an fdatasync each ten milliseconds: the yardstick."""
    descriptor = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    synced = time.monotonic()
    try:
        for _ in range(0, RECORDS, _AT_ONCE):
            for _ in range(_AT_ONCE):
                sha256(event).digest()
            os.write(descriptor, event * _AT_ONCE)
            if time.monotonic() - synced >= 0.01:
                os.fdatasync(descriptor)
                synced = time.monotonic()
    finally:
        os.close(descriptor)


def measure(rounds: int) -> dict[str, object]:
    """Let both take turns."""
    event, micros, ratios = payload(), [], []
    for _ in progress.rounds("keeping", rounds):
        with tempfile.TemporaryDirectory() as name:
            begun = time.process_time()
            plain(Path(name), event)
            middle = time.process_time()
            asyncio.run(kept(Path(name), event))
            ended = time.process_time()
        micros.append((ended - middle) / RECORDS * 1e6)
        ratios.append((ended - middle) / (middle - begun))
    return {
        "records": RECORDS, "bytes": len(event), "micros_per_record": dataclasses.asdict(Spread.of(micros)),
        "ratio": dataclasses.asdict(Spread.of(ratios)),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
