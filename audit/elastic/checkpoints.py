"""Signed checkpoints on their way to the index: a small queue on disk, so that each one signed is also kept there.

A checkpoint's document is `checkpoint:<origin>:<size>` in the dataset `health`, its text the whole signed note: with it
and the public key alone a truncated, rolled-back or re-signed trail is found (promise P5). With cosignatures it is
another document, `…:<number of signatures>`: what is stored is never changed. A later checkpoint proves an
earlier one, so beyond `KEPT` waiting ones only the newest stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from audit import durable
from audit.documents import Document
from audit.ecs import ECS_VERSION
from audit.event import timestamp

KEPT: Final = 10_000


class CheckpointQueue:
    """The checkpoints that the index does not have yet. Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Load what waits; a torn last line, left by a crash, was promised to nobody. Raises OSError."""
        self._path = path
        self._waiting: list[Document] = []
        *whole, torn = path.read_bytes().split(b"\n") if path.exists() else (b"",)
        for line in whole:
            row = orjson.loads(line)
            self._waiting.append(Document(row["id"], "health", row["body"]))
        if torn:
            self._keep(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, text: str, wall: float) -> None:
        """Queue the signed note `text`, durably; raises OSError."""
        document = checkpoint_document(text, wall)
        durable.append(self._path, orjson.dumps({"id": document.id, "body": document.body}) + b"\n")
        self._waiting.append(document)
        if len(self._waiting) > 2 * KEPT:
            self._keep(self._waiting[-KEPT:])

    def waiting(self) -> tuple[Document, ...]:
        """Return the documents to send, oldest first."""
        return tuple(self._waiting)

    def sent(self, documents: Sequence[Document]) -> None:
        """Drop these from the queue; raises OSError."""
        gone = {document.id for document in documents}
        self._keep([document for document in self._waiting if document.id not in gone])

    def _keep(self, documents: list[Document]) -> None:
        lines = (orjson.dumps({"id": each.id, "body": each.body}) + b"\n" for each in documents)
        durable.replace(self._path, b"".join(lines), 0o600)
        self._waiting = documents


def checkpoint_document(text: str, wall: float) -> Document:
    """Return the document of a signed note (C2SP tlog-checkpoint: origin, size, root, then signatures)."""
    origin, size, _, _, *signatures = text.splitlines()
    name = f"checkpoint:{origin}:{size}" + (f":{len(signatures)}" if len(signatures) > 1 else "")
    body = {
        "@timestamp": timestamp(wall), "ecs.version": ECS_VERSION, "event.id": name, "event.kind": "state",
        "event.category": ["file"], "event.type": ["info"], "event.dataset": "sekisho.health",
        "event.action": "checkpoint.signed", "sekisho.log.size": int(size), "sekisho.checkpoint.text": text,
    }  # fmt: skip
    return Document(name, "health", body)
