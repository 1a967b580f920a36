"""A file of ECS JSON lines, each document exactly once, for an agent that reads files (Elastic Agent, Filebeat).

The mark is the file (its inode) and its size behind the last document whose place is durable. Order: lines are appended
and synced, then the place is kept (`follow`). A crash between: the next start cuts the file at the mark, and the same
documents are appended anew. So a line stands once in the file, though an agent may have read one that was cut: let it
take `event.id` for the document's id.

Turning, only when the place is durable: `F.4` becomes `F.5`, … `F` becomes `F.1`, a new `F` is made, then its mark is
kept. A crash between any two leaves a gap among the numbers, or an empty `F` that the mark does not know: nothing is
written before the next start has kept its mark. What is older than the last number is deleted; the journals keep it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from audit import durable
from audit.documents import Document
from audit.outlets.nested import nested

_MODE = 0o640  # the agent runs as another user, in the file's group


class NdjsonFile:
    """The outlet `ndjson`: `path`, turned when it has `limit` bytes, `kept` older files beside it."""

    name = "ndjson"
    doubt = 0.0

    def __init__(self, path: Path, limit: int, kept: int) -> None:
        self._path, self._limit, self._kept = path, limit, kept

    async def open(self, mark: Mapping[str, int]) -> Mapping[str, int]:
        """Cut what stands behind the mark; a file that the mark does not know is gone on with as it is."""
        return await asyncio.to_thread(self._open, mark)

    async def send(self, documents: Sequence[Document]) -> Mapping[str, int]:
        """Append one line a document and sync."""
        return await asyncio.to_thread(self._append, documents)

    async def check(self) -> None:
        """What was appended is on disk."""

    async def turn(self) -> Mapping[str, int] | None:
        """Begin a new file when this one is large enough."""
        return await asyncio.to_thread(self._turn)

    async def close(self) -> None:
        """Nothing stays open between two calls."""

    def _open(self, mark: Mapping[str, int]) -> Mapping[str, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return self._create()
        if found.st_ino == mark.get("inode") and found.st_size > mark["size"]:
            durable.cut(self._path, mark["size"])
        return self._mark()

    def _append(self, documents: Sequence[Document]) -> Mapping[str, int]:
        durable.append(self._path, b"".join(orjson.dumps(nested(each.body)) + b"\n" for each in documents))
        return self._mark()

    def _turn(self) -> Mapping[str, int] | None:
        if self._path.stat().st_size < self._limit:
            return None
        self._numbered(self._kept + 1).unlink(missing_ok=True)
        for number in range(self._kept, -1, -1):
            older = self._numbered(number)
            if older.exists():
                os.rename(older, self._numbered(number + 1))
        self._numbered(self._kept + 1).unlink(missing_ok=True)
        return self._create()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _create(self) -> Mapping[str, int]:
        durable.make_directory(self._path.parent)
        os.close(durable.create(self._path, _MODE))
        durable.sync_directory(self._path.parent)
        return self._mark()

    def _mark(self) -> Mapping[str, int]:
        found = self._path.stat()
        return {"inode": found.st_ino, "size": found.st_size}
