"""The auditor's task that keeps the embedded index: a micro-batch each `EVERY` seconds or `BATCH` documents."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import duckdb

from audit.index.writer import BATCH, IndexWriter
from audit.segment import Link
from audit.stored import Recent

EVERY: Final = 30.0
FORGET_EVERY: Final = 600.0  # seconds between looks at what the journals no longer have
_IDLE: Final = 0.3  # seconds between looks, unless more is there
_AGAIN: Final = 10.0  # seconds before a failed run is begun anew
_LOG = logging.getLogger("sekisho.auditor")


class Indexing:
    """Indexes until cancelled. Nothing it does delays the signing of checkpoints."""

    def __init__(self, journals: Path, folder: Path, clock: Callable[[], float], recent: Recent | None = None) -> None:
        """`recent` is what the auditor's other readers have read."""
        self._journals = journals
        self._folder = folder
        self._clock = clock
        self._recent = recent
        self._writer: IndexWriter | None = None

    def links(self) -> Mapping[str, Link] | None:
        """Return how far each writer's journal was taken in, None while the index is being begun anew."""
        writer = self._writer
        return None if writer is None else writer.links

    async def run(self) -> None:
        """Index for ever; an index that cannot be read is built anew: everything in it stands in the journals."""
        while True:
            try:
                await self._follow(await asyncio.to_thread(IndexWriter, self._journals, self._folder, self._recent))
            except OSError as error:
                _LOG.warning("the index waits: %s", error)
            except (ValueError, KeyError, duckdb.Error) as error:
                _LOG.warning("the index is built anew: %s: %s", type(error).__name__, error)
                await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            except Exception:  # noqa: BLE001  # logged; the index must not take the auditor down
                _LOG.exception("indexing failed and is begun anew")
            self._writer = None
            await asyncio.sleep(_AGAIN)

    async def _follow(self, writer: IndexWriter) -> None:
        loop = asyncio.get_running_loop()
        written = looked = loop.time()
        await asyncio.to_thread(writer.forget)
        self._writer = writer
        while True:
            await asyncio.to_thread(writer.poll, self._clock())
            if writer.waiting >= BATCH or (writer.waiting and loop.time() - written >= EVERY):
                await asyncio.to_thread(writer.flush)
                await asyncio.to_thread(writer.compact)
                written = loop.time()
            if loop.time() - looked >= FORGET_EVERY:
                await asyncio.to_thread(writer.forget)
                looked = loop.time()
            if not writer.behind:
                await asyncio.sleep(_IDLE)
