"""The auditor's task that keeps sealed segments: compresses what is covered, deletes what has come to its end.

It looks at each writer's segments from the oldest on. Only what a signed checkpoint covers wholly is touched. One step
a segment and look; the steps and their order are `compressing` and `expiring`, and every look begins from what lies in
the folders, so that a start after a crash is an ordinary look.

Nothing is deleted while the holds cannot be read, nor for a day after the wall clock leapt ahead of the machine's own
by more than `LEAP`: a wrong year must not empty the journals. Both are told, once, in the trail and on stderr.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from audit import holds
from audit.anonymous import trimmed_up_to
from audit.event import Action, event
from audit.holds import HoldsUnreadable
from audit.journal import Journal, JournalUnhealthy
from audit.keeping import expiring
from audit.keeping.compressing import NotEqual, compress
from audit.keeping.expiring import NotExpirable
from audit.keeping.spans import Span, SpanUnknown, believed, span
from audit.retention import Retention
from audit.seekable import SegmentDamaged
from audit.segment import COMPRESSED, EXPIRED, PLAIN, Link, Segment, segments, writers

LEAP: Final = 600.0  # seconds that the wall clock may gain on the machine's own before nothing is deleted
DAY: Final = 86_400.0  # seconds for which nothing is deleted then, so that somebody can set it right
PORTION: Final = 16  # segments of one writer that are on their way to deletion at once
_YOUNG: Final = 16  # segments in a row that are too young to delete: then all behind them are
_UNFINISHED: Final = ("*.jsonl.zst.tmp", "*.entries.tmp")
_LOG = logging.getLogger("sekisho.auditor")

Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Clocks:
    """`wall` gives seconds since the epoch, `machine` seconds that only run on (CLOCK_BOOTTIME)."""

    wall: Callable[[], float]
    machine: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Stated:
    """A deletion on record: the record's place in the auditor's journal, and what it names."""

    at: Link
    digest: bytes


class Keeper:
    """Keeps all journals under one folder. `look` is one round; `run` looks for ever."""

    def __init__(
        self, journals: Path, journal: Journal, covered: Callable[[], Mapping[str, Link]], retention: Retention,
        compress_after: float, clocks: Clocks,
    ) -> None:  # fmt: skip
        """`journal` is the auditor's own; `covered` tells by writer the last record under a signed checkpoint.

        `compress_after` is the age in seconds, by its last record, from which a segment is compressed.
        """
        self._journals = journals
        self._journal = journal
        self._covered = covered
        self._retention = retention
        self._compress_after = compress_after
        self._clocks = clocks
        self._ahead = clocks.wall() - clocks.machine()
        self._leapt_at: float | None = None
        self._spans: dict[Key, Span] = {}
        self._stated: dict[Key, _Stated] = {}
        self._told: dict[str, str] = {}
        self._unread: dict[str, str] = {}  # segments whose ends cannot be read, of the writer at hand

    async def run(self, pause: float) -> None:
        """Keep until cancelled, looking each `pause` seconds, at once where there is more to do."""
        await asyncio.to_thread(self._tidy)
        while True:
            worked = False
            try:
                worked = await self.look()
            except Exception:  # noqa: BLE001  # logged; keeping must not take the auditor down
                _LOG.exception("keeping failed and is begun anew")
            await asyncio.sleep(pause / 10 if worked else pause)

    async def look(self) -> bool:
        """Take the next step with whatever is due; return whether there was anything."""
        covered = dict(self._covered())
        self._follow_clocks()
        worked = False
        for writer in await asyncio.to_thread(writers, self._journals):
            link = covered.get(writer)
            if link is None:
                continue
            try:
                worked |= await self._compress(writer, link)
                worked |= await self._expire(writer, link, covered)
                while self._unread:
                    name, what = self._unread.popitem()
                    await self._tell(f"{writer}/{name}", what)
            except OSError as error:  # one writer's folder; the others are kept
                await self._tell(writer, f"{writer}: {type(error).__name__}: {error}")
        return worked

    # --- compressing

    async def _compress(self, writer: str, covered: Link) -> bool:
        due = await asyncio.to_thread(self._to_compress, writer, covered)
        for segment in due:
            try:
                await asyncio.to_thread(compress, segment)
            except FileNotFoundError:
                continue  # its writer deleted it, on record
            except NotEqual as error:
                await self._tell(f"{writer}/{segment.path.name}", str(error))
        return bool(due)

    def _to_compress(self, writer: str, covered: Link) -> list[Segment]:
        before = self._clocks.wall() - self._compress_after
        plain = [segment for segment in segments(self._journals / writer) if segment.form == PLAIN]
        return [segment for segment, found in self._spanned(plain, covered) if found.last_at <= before][:PORTION]

    def _spanned(self, found: list[Segment], covered: Link) -> Iterator[tuple[Segment, Span]]:
        """Yield the segments that the checkpoint covers wholly, with what they span, from the oldest on."""
        for segment in found:
            if segment.key > (covered.epoch, covered.seq):
                return
            key = (segment.path.parent.name, *segment.key)
            try:
                known = self._spans.get(key) or self._spans.setdefault(key, span(segment))
            except (SpanUnknown, SegmentDamaged) as error:
                self._unread[segment.path.name] = f"{key[0]}: neither compressed nor deleted: {error}"
                continue
            except FileNotFoundError:
                continue
            if (known.last.epoch, known.last.seq) <= (covered.epoch, covered.seq):
                yield segment, known

    # --- deleting

    async def _expire(self, writer: str, covered: Link, ends: Mapping[str, Link]) -> bool:
        if self._retention.age_of(writer) is None:
            return False
        try:
            due = await asyncio.to_thread(self._to_expire, writer, covered)
        except HoldsUnreadable as error:
            await self._tell("holds", f"nothing is deleted: {error}")
            return False
        if due and self._leapt_at is not None:
            await self._tell("clock", "nothing is deleted: the wall clock leapt ahead of the machine's own")
            return False
        self._told.pop("holds", None)
        for segment, found, neighbours in due:
            await self._step(segment, found, neighbours, covered, ends)
        return bool(due)

    def _to_expire(self, writer: str, covered: Link) -> list[tuple[Segment, Span, list[Segment]]]:
        now, kept = self._clocks.wall(), holds.load(self._journals)
        found = segments(self._journals / writer)
        sealed = [segment for segment in found if segment.sealed and not segment.expired]
        age = self._retention.age_of(writer) or 0.0
        old: list[tuple[Segment, Span]] = []
        young = 0
        for segment, own in self._spanned(sealed, covered):
            old.append((segment, own))
            young = young + 1 if now - age < own.last_at <= now else 0
            if young == _YOUNG:
                break
        due: list[tuple[Segment, Span, list[Segment]]] = []
        for (segment, _), known in zip(old, believed([own for _, own in old], now), strict=True):
            held = any(hold.holds(writer, known.first_at, known.last_at) for hold in kept)
            if known.last_at + age <= now and not held:
                at = found.index(segment)
                due.append((segment, known, [*found[max(0, at - 1) : at], *found[at + 1 : at + 2]]))
        return due[:PORTION]

    async def _step(
        self, segment: Segment, known: Span, neighbours: list[Segment], covered: Link, ends: Mapping[str, Link]
    ) -> None:
        key = (segment.path.parent.name, *segment.key)
        stated = self._stated.get(key)
        try:
            if stated is None:
                await self._state(key, segment, known, neighbours, covered)
            elif _reached(ends.get(self._journal.writer), stated.at) and await asyncio.to_thread(
                self._delete, segment, known, neighbours, stated
            ):
                del self._stated[key], self._spans[key]
        except NotExpirable as error:
            await self._tell("/".join(map(str, key)), f"not deleted: {error}")
        except JournalUnhealthy as error:
            _LOG.warning("nothing is deleted while it cannot be recorded: %s", error)
        except HoldsUnreadable as error:
            await self._tell("holds", f"nothing is deleted: {error}")
        except FileNotFoundError:
            self._stated.pop(key, None)  # another form by now, or deleted by its writer

    async def _state(self, key: Key, segment: Segment, known: Span, neighbours: list[Segment], covered: Link) -> None:
        """Put the deletion on record."""
        held = await asyncio.to_thread(expiring.entries_of, segment, neighbours)
        if (covered.epoch, covered.seq) == (held.epoch, held.last_seq) and covered.entry != held.end.entry:
            raise NotExpirable(f"{held.writer}/{segment.path.name}: ends otherwise than the checkpoint covers")
        epoch = self._journal.epoch
        seq = await self._journal.record(expiring.deletion(held, known, self._clocks.wall()))
        self._stated[key] = _Stated(Link(epoch, seq, b""), held.digest)

    def _delete(self, segment: Segment, known: Span, neighbours: list[Segment], stated: _Stated) -> bool:
        """Leave the entries, or in a later look delete the lines; return whether they are gone."""
        writer = segment.path.parent.name
        with holds.holding(self._journals):
            if any(hold.holds(writer, known.first_at, known.last_at) for hold in holds.load(self._journals)):
                return False
            if expiring.is_left(segment, stated.digest):
                expiring.delete(segment)
                return True
            held = expiring.entries_of(segment, neighbours)
            if held.digest != stated.digest:
                raise NotExpirable(f"{writer}/{segment.path.name}: not what the record of its deletion names")
            expiring.leave(segment, held)
            return False

    # --- around

    def _follow_clocks(self) -> None:
        """Notice when the wall clock gains more than `LEAP`; a clock set back is followed, it deletes nothing."""
        machine = self._clocks.machine()
        ahead = self._clocks.wall() - machine
        if ahead - self._ahead <= LEAP:
            self._ahead, self._leapt_at = ahead, None
        elif self._leapt_at is None:
            self._leapt_at = machine
        elif machine - self._leapt_at > DAY:
            self._ahead, self._leapt_at = ahead, None  # it has been told for a day, and nobody set it back

    def _tidy(self) -> None:
        """Remove what a crash left half written, and what it brought back of a bounded journal."""
        for writer in writers(self._journals):
            folder = self._journals / writer
            for pattern in _UNFINISHED:
                for path in folder.glob(pattern):
                    path.unlink(missing_ok=True)
            trimmed = trimmed_up_to(folder)
            for segment in segments(folder):
                if trimmed is not None and segment.form in (COMPRESSED, EXPIRED) and segment.key <= trimmed:
                    segment.path.unlink(missing_ok=True)

    async def _tell(self, about: str, what: str) -> None:
        """Say once that something is not kept as the settings say, until it is something else."""
        if self._told.get(about) == what:
            return
        self._told[about] = what
        _LOG.warning("%s", what)
        fields: dict[str, Any] = {"error.message": what, "event.outcome": "failure"}
        try:
            await self._journal.record(event(Action.AUDIT_NOT_KEPT, self._clocks.wall(), fields))
        except JournalUnhealthy as error:
            _LOG.warning("not recorded: %s", error)


def _reached(covered: Link | None, wanted: Link) -> bool:
    return covered is not None and (covered.epoch, covered.seq) >= (wanted.epoch, wanted.seq)
