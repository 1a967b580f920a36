"""A process that moves every place that is kept beside the journals, and says each step once it is durable.

`python -m tests.support.cursor_process DIR`: the shipper's cursor, the index's manifest, dead letters and which of them
were settled, the queue of checkpoints, the state of detection. `s KIND NUMBER` goes out once step NUMBER of a kind is
durable, `x KIND NUMBER` where it was refused; then the next step is made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import orjson

from audit import durable
from audit.dead_letters import LETTERS, settle
from audit.detect.engine import Engine
from audit.elastic import cursor
from audit.elastic.checkpoints import CheckpointQueue
from audit.index import files
from audit.segment import Link
from tests.support import short_writes

STEPS = 3


def letter(number: int) -> bytes:
    """Return a dead letter as the shipper sets it aside."""
    body = {"at": 1.0, "id": str(number), "dataset": "sekisho.access", "status": 400, "reason": "r", "body": {}}
    return orjson.dumps(body) + b"\n"


def steps(root: Path) -> dict[str, Callable[[int], None]]:
    """Return each kind with what makes its step."""
    queue = CheckpointQueue(root / "checkpoints")
    engine = Engine(root / "journal", root / "detection.json")

    def checkpoint(number: int) -> None:
        queue.put(f"log.example\n{number}\nroot\n\n", 1.0)

    def sent(number: int) -> None:
        queue.sent([each for each in queue.waiting() if each.body["sekisho.log.size"] < number])

    def detection(_number: int) -> None:
        engine.poll()
        engine.save()

    def link(number: int) -> dict[str, Link]:
        return {"worker-0": Link(1, number, bytes(32))}

    return {
        "cursor": lambda number: cursor.save(root / "cursor.json", cursor.Cursor(link(number))),
        "manifest": lambda number: files.save(root / "index", files.Manifest((), link(number), {}, number)),
        "letter": lambda number: durable.append(root / LETTERS, letter(number)),
        "settled": lambda number: settle(root, [number]),
        "checkpoint": checkpoint,
        "sent": sent,
        "detection": detection,
    }


def main(root: Path) -> None:
    """Make the steps of all kinds in turn."""
    durable.make_directory(root / "index")
    kinds = steps(root)
    for number in range(1, STEPS + 1):
        for kind, step in kinds.items():
            try:
                step(number)
            except OSError:
                os.writev(1, [f"x {kind} {number}\n".encode()])
            else:
                os.writev(1, [f"s {kind} {number}\n".encode()])


if __name__ == "__main__":
    short_writes.install(Path(sys.argv[1]))
    main(Path(sys.argv[1]))
