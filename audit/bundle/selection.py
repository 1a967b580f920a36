"""Which records go into a bundle: of one case, or of one period. Lines of the journal as they are, nothing proved yet.

A period takes, of each writer and epoch, the records from the first one in the period up to the first one after it,
without a gap; stragglers behind that, whose time still lies in the period; and for every request decided in it what
comes of it later. With filters it takes the records that agree with them, and what comes of those requests.
A case takes the records that make the case, and all records of the requests and events that its findings name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from audit import stored
from audit.cases import CaseReader
from audit.completion import DECIDED
from audit.event import timestamp
from audit.originals import originals
from audit.query import Query, agrees
from audit.scan import COMPLETED, SLACK, RawLine, request_of, time_of
from audit.segment import Segment, record_of, segments, writers

_CASE: Final = b'"sekisho.case.id":"%b"'


class NoSuchCase(Exception):
    """No record opened a case of this name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """`case`, or the period from `since` (inclusive) to `until` (exclusive; seconds since the epoch) with `filters`.

    `filters` maps dotted fields to values; all of them must agree.
    """

    since: float = 0.0
    until: float = 0.0
    filters: Mapping[str, str] = field(default_factory=dict)
    case: str = ""

    @property
    def whole(self) -> bool:
        """Whether everything of a period is taken, so that a missing record can be told."""
        return not self.case and not self.filters

    def told(self) -> dict[str, Any]:
        """Return the selection as manifest and records say it."""
        if self.case:
            return {"case": self.case}
        return {"since": timestamp(self.since), "until": timestamp(self.until), "filters": dict(self.filters)}


class Selected:
    """One line of the journal. `gapless`: the writer's records between this and the one before it are all taken."""

    __slots__ = ("gapless", "raw")

    def __init__(self, raw: RawLine, *, gapless: bool) -> None:
        self.raw = raw
        self.gapless = gapless


def select(root: Path, selection: Selection) -> Mapping[str, Iterator[Selected]]:
    """Return the records by writer, each writer's in the order of its journal; raises `NoSuchCase`."""
    if selection.case:
        return _of_case(root, selection.case)
    return {writer: _Period(root / writer, writer, selection).records() for writer in writers(root)}


def _of_case(root: Path, name: str) -> Mapping[str, Iterator[Selected]]:
    case = CaseReader(root).poll().cases.get(name)
    if case is None:
        raise NoSuchCase(name)
    found = {raw.id: raw for raw in _about(root, name)}
    for event in dict.fromkeys(each for finding in case.findings for each in finding.evidence):
        for raw in originals(root, event):
            request = request_of(raw.line).decode()
            for each in (raw, *(originals(root, request) if request else ())):
                found[each.id] = each
    by_writer: dict[str, list[RawLine]] = {}
    for raw in found.values():
        by_writer.setdefault(raw.writer, []).append(raw)
    return {
        writer: iter([Selected(raw, gapless=False) for raw in sorted(lines, key=lambda raw: raw.position)])
        for writer, lines in by_writer.items()
    }


def _about(root: Path, case: str) -> Iterator[RawLine]:
    needle = _CASE % case.encode()
    for writer in writers(root):
        for segment in segments(root / writer):
            yield from (raw for raw in _lines(writer, segment, stored.whole(segment)) if needle in raw.line)


class _Period:
    """One writer's records of a period."""

    def __init__(self, folder: Path, writer: str, selection: Selection) -> None:
        self._folder = folder
        self._writer = writer
        self._selection = selection
        self._since = timestamp(selection.since).encode()
        self._until = timestamp(selection.until).encode()
        self._late = timestamp(selection.until + SLACK).encode()  # nothing later has a time in the period
        self._early = timestamp(selection.since - SLACK).encode()
        self._needles = [orjson.dumps(value)[1:-1] for value in selection.filters.values()]
        self._query = Query(filters=selection.filters)
        self._open: set[bytes] = set()  # requests that were taken and not completed yet
        self._state = (0, False, False)  # epoch, whether its run of records has begun, and whether it has ended

    def records(self) -> Iterator[Selected]:
        """Yield them; segments that end before the period are not read, nor those after it without need."""
        found = segments(self._folder)
        start = bisect_left(found, True, key=lambda segment: _last_time(stored.whole(segment)) >= self._early)
        ended = b""  # the time at which the segment before ended
        for segment in found[start:]:
            if self._state[0] != segment.epoch:
                self._open.clear()  # another process writes now: what was open will not be completed
                self._state = segment.epoch, False, False
            if ended > self._late and not self._open:
                return
            data = stored.whole(segment)
            if self._open or all(needle in data for needle in self._needles):
                yield from filter(None, map(self._taken, _lines(self._writer, segment, data)))
            ended = _last_time(data)

    def _taken(self, raw: RawLine) -> Selected | None:
        line, time = raw.line, time_of(raw.line)
        inside = self._since <= time < self._until
        epoch, begun, ended = self._state
        if not begun and inside:
            begun = True
            self._state = epoch, True, ended
        elif begun and not ended and time >= self._until:
            ended = True
            self._state = epoch, begun, True
        in_run = begun and not ended
        request = request_of(line) if self._open else b""
        follows = bool(request) and request in self._open
        if follows and COMPLETED in line:
            self._open.discard(request)
        if follows or ((in_run or inside) and self._agrees(line)):
            if DECIDED in line:
                self._open.add(request_of(line))
            return Selected(raw, gapless=in_run and self._selection.whole)
        return None

    def _agrees(self, line: bytes) -> bool:
        if not self._selection.filters:
            return True
        if not all(needle in line for needle in self._needles):
            return False
        return agrees(self._query, record_of(line))


def _lines(writer: str, segment: Segment, data: bytes) -> Iterator[RawLine]:
    start, seq = 0, segment.first_seq
    while (end := data.find(b"\n", start) + 1) > 0:
        yield RawLine(data[start:end], writer, (segment.epoch, seq))
        start, seq = end, seq + 1


def _last_time(data: bytes) -> bytes:
    """Return the time of a segment's last line: its first may be out of line, where a process said that it started."""
    end = data.rfind(b"\n")
    return time_of(data[data.rfind(b"\n", 0, max(end, 0)) + 1 :])
