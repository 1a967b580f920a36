"""The auditor's task that looks for anomalies and records cases in the auditor's journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from audit.detect.engine import Engine
from audit.detect.signal import Signal
from audit.journal import Journal, JournalUnhealthy
from audit.reader import IntegrityError
from audit.segment import Link
from audit.stored import Recent

_IDLE: Final = 0.3  # seconds between looks, unless more is there
_AGAIN: Final = 5.0  # seconds before a failed run is begun anew
_SAVE_EVERY: Final = 30.0
_LOG = logging.getLogger("sekisho.auditor")


class Detection:
    """Detects until cancelled. Nothing it does delays the signing of checkpoints."""

    def __init__(
        self, journals: Path, state: Path, journal: Journal, clock: Callable[[], float], recent: Recent | None = None
    ) -> None:
        """`journal` is the auditor's own, where cases are recorded; `recent` is what its other readers have read."""
        self._journals = journals
        self._state = state
        self._journal = journal
        self._clock = clock
        self._recent = recent
        self._engine: Engine | None = None

    def links(self) -> Mapping[str, Link] | None:
        """Return how far each writer's journal was read, None while it is being begun anew."""
        engine = self._engine
        return None if engine is None else engine.links

    async def run(self) -> None:
        """Detect for ever; a fault is logged and the run begun anew from the last saved place."""
        while True:
            try:
                await self._follow(await asyncio.to_thread(Engine, self._journals, self._state, self._recent))
            except (IntegrityError, OSError) as error:
                _LOG.warning("detection is begun anew: %s: %s", type(error).__name__, error)
            except Exception:  # noqa: BLE001  # logged; detection must not take the auditor down
                _LOG.exception("detection failed and is begun anew")
            self._engine = None
            await asyncio.sleep(_AGAIN)

    async def _follow(self, engine: Engine) -> None:
        self._engine, loop = engine, asyncio.get_running_loop()
        unsaved, saved_at = 0, loop.time()
        while True:
            taken, signals = await asyncio.to_thread(engine.poll)
            unsaved += taken
            for signal in signals:
                await self._tell(engine, signal)
            if unsaved and loop.time() - saved_at >= _SAVE_EVERY:
                await asyncio.to_thread(engine.save)
                unsaved, saved_at = 0, loop.time()
            if not engine.more:
                await asyncio.sleep(_IDLE)

    async def _tell(self, engine: Engine, signal: Signal) -> None:
        while engine.is_news(signal):
            record = engine.record_of(signal, self._clock())
            try:
                await self._journal.record(record)
            except JournalUnhealthy:
                await asyncio.sleep(1.0)  # its records are not passed over: the place is not saved before this is told
                continue
            engine.book.take(record)
