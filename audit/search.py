"""Questions over the journals: by field, time and text, newest first, each request one answer.

Reads what the writers write, sealed or not, and trusts none of it: a search shows, `audit.verify` proves.
A request's decision and completion are folded by `http.request.id`: the decision's fields, what the completion adds,
and `event.end` with the time of completion; a request without `event.end` is still open. It belongs to the time when
it was decided, however long it then was open: one answer, at one time, whichever period is asked for.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import heapq
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from audit import stored
from audit.completion import DECIDED, decisions, fold, joined, leans
from audit.event import IMPLIED, Action, implied, timestamp
from audit.reader import JournalReader
from audit.scan import COMPLETED, SLACK, Position, RawLine, at, newest_first, place_of, request_of, time_of
from audit.segment import segments, writers

_HELD: Final = 100_000  # decisions a follower remembers to complete their requests
_UNWRITTEN: Final = orjson.dumps([implied(each, how) for each in Action for how in ("", "success", "failure")])
_ID: Final = "event.id"


class CursorInvalid(ValueError):
    """The cursor was not made by `page`."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for. Times are seconds since the epoch; `since` is inclusive, `until` exclusive.

    `filters` maps a dotted field to a value; a list field matches when it contains the value, and all filters must
    match; `event.id` is an answer's own, or its request's. `actions` names the acts (`event.action`) of which one must
    be the record's; empty = any. `text` is found anywhere in a record, ASCII letters without case. `after` is a cursor
    of `page`.
    """

    since: float | None = None
    until: float | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    limit: int = 100
    newest_first: bool = True
    after: str = ""
    actions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """Some answers and where to go on; `cursor` is empty when there is nothing more."""

    events: tuple[dict[str, Any], ...]
    cursor: str


class _Matcher:
    """A query, prepared: bytes to look for first, then the fields to compare."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self.place = place_of(query.filters.get(_ID, ""))
        unwritten = IMPLIED if self.place is None else {*IMPLIED, _ID}
        self.needles = [
            orjson.dumps(value)[1:-1] for name, value in query.filters.items() if value and name not in unwritten
        ]
        self.since = timestamp(query.since).encode() if query.since is not None else b""
        self.stop = timestamp(query.since - SLACK).encode() if query.since is not None else b""
        self._until = timestamp(query.until).encode() if query.until is not None else b""
        escaped = orjson.dumps(query.text)[1:-1]
        self._text = escaped.lower() if query.text.isascii() else escaped
        if self._text in _UNWRITTEN.lower():  # a line need not have it in its bytes
            self._text = b""
        self._actions = [b'"event.action":' + orjson.dumps(action) for action in query.actions]

    def is_asked_for(self, line: bytes) -> bool:
        """Tell from the bytes whether the record is of an act that is asked for."""
        return not self._actions or any(action in line for action in self._actions)

    def is_in_time(self, line: bytes) -> bool:
        """Tell from the bytes whether the record is of the time that is asked for."""
        time = time_of(line)
        return time >= self.since and not (self._until and time >= self._until)

    def may(self, raw: RawLine, other: bytes) -> bool:
        """Tell unparsed whether the record can match at all, told together with the `other` of its request."""
        if self.place is not None and (raw.writer, raw.position) != self.place:
            return False
        line = raw.line
        if not self.is_in_time(line):
            return False
        if not all(needle in line or needle in other for needle in self.needles):
            return False
        if not self.is_asked_for(line):
            return False
        if not self._text:
            return True
        both = line + other + raw.id.encode()
        return self._text in (both.lower() if self._query.text.isascii() else both)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Compare the fields, and look for the text in the event as it is answered."""
        return agrees(self._query, event)


def agrees(query: Query, event: Mapping[str, Any]) -> bool:
    """Whether an event is what `query` asks for by act, fields and text; times are compared elsewhere."""
    if query.actions and event.get("event.action") not in query.actions:
        return False
    if not all(_says(event, name, value) for name, value in query.filters.items()):
        return False
    if not query.text:
        return True
    wanted, there = orjson.dumps(query.text)[1:-1], orjson.dumps(event)
    return wanted.lower() in there.lower() if query.text.isascii() else wanted in there


def _says(event: Mapping[str, Any], name: str, wanted: str) -> bool:
    if name == _ID and event.get("event.action") == Action.REQUEST_DECIDED:
        return wanted in (event.get(_ID), event.get("http.request.id"))  # by the latter a request is shipped
    return _equal(event.get(name), wanted)


def _equal(found: object, wanted: str) -> bool:
    if isinstance(found, list):
        return any(_equal(item, wanted) for item in found)
    if isinstance(found, bool):
        return wanted == ("true" if found else "false")
    return found is not None and str(found) == wanted


class _Stream:
    """One writer's matching records, newest first."""

    def __init__(self, root: Path, writer: str, matcher: _Matcher, before: Position | None) -> None:
        self._root = root
        self._writer = writer
        self._matcher = matcher
        self._before = before
        self._completions: dict[bytes, RawLine] = {}
        self._lines = newest_first(root, writer, matcher.needles, before, matcher.stop, self._completions)

    def __iter__(self) -> Iterator[tuple[RawLine, dict[str, Any]]]:
        for raw in self._lines:
            if COMPLETED in raw.line:
                self._completions[request_of(raw.line)] = raw
                continue
            request = request_of(raw.line) if self._completions else b""
            completion = self._completions.pop(request, None) if request else None
            if not self._matcher.may(raw, completion.line if completion else b""):
                continue
            event = raw.parse()
            if completion is not None:
                event = fold(event, completion.parse())
            if self._matcher.matches(event):
                yield raw, event
        yield from self._orphans()

    def _orphans(self) -> Iterator[tuple[RawLine, dict[str, Any]]]:
        """Completions whose decision is nowhere any more, each a record of its own.

        One whose decision stands before the walk's end is no answer: its request is of a time that is not asked for.
        """
        alone = {
            request: raw for request, raw in self._completions.items()
            if (self._before is None or raw.position < self._before) and self._matcher.may(raw, b"")
        }  # fmt: skip
        found = decisions(self._root, self._writer, alone)
        for request, raw in alone.items():
            if request not in found and self._matcher.matches(event := raw.parse()):
                yield raw, event


def _merged(root: Path, query: Query) -> Iterator[tuple[RawLine, dict[str, Any]]]:
    """Yield matches of all writers, newest first by their times."""
    matcher, after = _Matcher(query), _positions(query.after)
    heap: list[tuple[bytes, int, RawLine, dict[str, Any], Iterator[tuple[RawLine, dict[str, Any]]]]] = []

    def push(number: int, stream: Iterator[tuple[RawLine, dict[str, Any]]]) -> None:
        for raw, event in stream:
            heapq.heappush(heap, (bytes(255 - byte for byte in time_of(raw.line)), number, raw, event, stream))
            return

    for number, writer in enumerate(writers(root)):
        if matcher.place is not None and writer != matcher.place[0]:
            continue
        push(number, iter(_Stream(root, writer, matcher, after.get(writer))))
    while heap:
        _, number, raw, event, stream = heapq.heappop(heap)
        yield raw, event
        push(number, stream)


def search(root: Path, query: Query) -> Iterator[dict[str, Any]]:
    """Yield at most `query.limit` events of the journals under `root`; raises `CursorInvalid`."""
    if query.newest_first:
        for count, (_, event) in enumerate(_merged(root, query), 1):
            yield event
            if count >= query.limit:
                return
    else:
        oldest = deque((event for _, event in _merged(root, query)), maxlen=query.limit)
        yield from reversed(oldest)


def page(root: Path, query: Query) -> Page:
    """Return one page of answers, newest first, and the cursor of the next; raises `CursorInvalid`."""
    positions = _positions(query.after)
    for writer in writers(root):
        positions.setdefault(writer, _end_of(root, writer))
    events: list[dict[str, Any]] = []
    for raw, event in _merged(root, replace(query, after=_cursor(positions))):
        if len(events) == query.limit:
            return Page(tuple(events), _cursor(positions))
        events.append(event)
        positions[raw.writer] = raw.position
    return Page(tuple(events), "")


def show(root: Path, reference: str) -> list[dict[str, Any]]:
    """Return what is recorded under a request id (受付番号, hyphens optional) or an `event.id`, oldest first."""
    if (place := place_of(reference)) is not None:
        raw = at(root, *place)
        return [] if raw is None else [_alone(root, raw)]
    spellings = dict.fromkeys((reference, reference.replace("-", "").upper()))
    for spelling in spellings:
        query = Query(filters={"http.request.id": spelling}, newest_first=False, limit=1000)
        if found := list(search(root, query)):
            return found
    return []


def _alone(root: Path, raw: RawLine) -> dict[str, Any]:
    """Return one record as it is told by itself: a completion with who and what."""
    if not leans(raw.line):
        return raw.parse()
    decision = decisions(root, raw.writer, [request_of(raw.line)]).get(request_of(raw.line))
    return raw.parse() if decision is None else joined(raw.parse(), decision.parse())


class Following:
    """What is appended from now on, as one looks."""

    def __init__(self, root: Path, query: Query) -> None:
        """Stand at the end of every journal under `root`."""
        self._root = root
        self._matcher = _Matcher(query)
        self._readers = {writer: _reader_at_end(root, writer) for writer in writers(root)}
        self._decisions: dict[bytes, RawLine] = {}

    def poll(self) -> list[dict[str, Any]]:
        """Return what was recorded since; a completion comes with its decision's fields. Raises IntegrityError."""
        events: list[dict[str, Any]] = []
        for writer in writers(self._root):
            reader = self._readers.setdefault(writer, JournalReader(self._root, writer))
            lines = [RawLine(record.line, writer, (record.epoch, record.seq)) for record in reader.read()]
            asked_for = [raw for raw in lines if self._matcher.is_asked_for(raw.line)]
            self._remember(writer, lines, asked_for)
            for raw in asked_for:
                event = self._completed(raw)
                if self._matcher.may(raw, orjson.dumps(event)) and self._matcher.matches(event):
                    events.append(event)
        return sorted(events, key=lambda event: str(event.get("@timestamp", "")))

    def _remember(self, writer: str, lines: list[RawLine], asked_for: list[RawLine]) -> None:
        """Keep decisions for the completions that are asked for; what was open before one looked is looked up."""
        if not self._matcher.is_asked_for(COMPLETED):
            return
        self._decisions |= {request_of(raw.line): raw for raw in lines if DECIDED in raw.line}
        alone = {request_of(raw.line) for raw in asked_for if leans(raw.line)} - self._decisions.keys()
        self._decisions |= decisions(self._root, writer, alone)
        for request in list(islice(self._decisions, max(0, len(self._decisions) - _HELD))):
            del self._decisions[request]

    def _completed(self, raw: RawLine) -> dict[str, Any]:
        event = raw.parse()
        decision = self._decisions.pop(request_of(raw.line), None) if COMPLETED in raw.line else None
        return event if decision is None else {**decision.parse(), **event}


async def follow(root: Path, query: Query, idle: float = 0.2) -> AsyncIterator[dict[str, Any]]:
    """Yield what is recorded from now on, looking each `idle` seconds; ends with its task.

    With `since`, what was recorded from then until now comes first (the newest `limit` of it), and nothing twice.
    """
    following = await asyncio.to_thread(Following, root, query)
    told: set[object] = set()
    if query.since is not None:
        for event in await asyncio.to_thread(list, search(root, replace(query, newest_first=False, after=""))):
            told.add(event.get("event.id"))
            yield event
    while True:
        events = await asyncio.to_thread(following.poll)
        for event in events:
            if event.get("event.id") in told:
                continue
            yield event
        if not events:
            await asyncio.sleep(idle)


def _reader_at_end(root: Path, writer: str) -> JournalReader:
    for segment in reversed(segments(root / writer)):
        last = stored.last_of(segment)
        if last is not None:
            return JournalReader(root, writer, last)
    return JournalReader(root, writer)


def _end_of(root: Path, writer: str) -> Position:
    """Return the place after a writer's last record, so that later pages don't see what came after the first."""
    found = segments(root / writer)
    if not found:
        return 1, 1
    last = found[-1]
    return last.epoch, last.first_seq + stored.count(last)


def _cursor(positions: Mapping[str, Position]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(positions)).decode()


def _positions(cursor: str) -> dict[str, Position]:
    if not cursor:
        return {}
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        return {str(writer): (int(epoch), int(seq)) for writer, (epoch, seq) in found.items()}
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise CursorInvalid(f"cursor: got {cursor[:40]!r}, expected one of an earlier page") from error
