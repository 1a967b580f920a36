"""Questions over the journals: by field, time and text, newest first, each request one answer.

Reads what the writers write, sealed or not, and trusts none of it: a search shows, `audit.verify` proves.
A request's decision and completion are folded by `http.request.id`: the decision's fields, what the completion adds,
and `event.end` with the time of completion; a request without `event.end` is still open. It belongs to the time when
it was decided, however long it then was open: one answer, at one time, whichever period is asked for.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from audit import stored
from audit.completion import DECIDED, decisions, fold, joined, leans
from audit.event import IMPLIED, Action, implied, timestamp
from audit.query import ID, Query, agrees, folded
from audit.reader import MANY, JournalReader
from audit.scan import COMPLETED, SLACK, RawLine, at, newest_first, place_of, request_of, time_of
from audit.segment import cited, segments, writers
from audit.stored import Piece

_ACTION: Final = b'"event.action":'
_HELD: Final = 100_000  # decisions a follower remembers to complete their requests
_UNWRITTEN: Final = orjson.dumps([implied(each, how) for each in Action for how in ("", "success", "failure")]).lower()


class _Matcher:
    """A query, prepared: bytes to look for first, then the fields to compare."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self.place = place_of(query.filters.get(ID, ""))
        unwritten = IMPLIED if self.place is None else {*IMPLIED, ID}
        self.needles = [
            orjson.dumps(value)[1:-1] for name, value in query.filters.items() if value and name not in unwritten
        ]
        self.since = timestamp(query.since).encode() if query.since is not None else b""
        self.stop = timestamp(query.since - SLACK).encode() if query.since is not None else b""
        self._until = timestamp(query.until).encode() if query.until is not None else b""
        self._text = folded(query.text)
        plain = orjson.dumps(self._text)[1:-1] == self._text.encode()
        if not plain or self._text.encode() in _UNWRITTEN:  # a line need not have it in its bytes
            self._text = ""
        self._actions = tuple(_ACTION + orjson.dumps(action) for action in query.actions)

    def is_asked_for(self, line: bytes) -> bool:
        """Tell from the bytes whether the record is of an act that is asked for."""
        if not self._actions:
            return True
        found = line.find(_ACTION)
        while found >= 0 and not line.startswith(self._actions, found):
            found = line.find(_ACTION, found + 1)
        return found >= 0

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
        return self._text in folded((line + other).decode(errors="replace") + raw.id)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Compare the fields, and look for the text in the event as it is answered."""
        return agrees(self._query, event)


class _Stream:
    """One writer's matching records, newest first."""

    def __init__(self, root: Path, writer: str, matcher: _Matcher) -> None:
        self._root = root
        self._writer = writer
        self._matcher = matcher
        self._completions: dict[bytes, RawLine] = {}
        self._lines = newest_first(root, writer, matcher.needles, matcher.stop, self._completions)

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
        alone = {request: raw for request, raw in self._completions.items() if self._matcher.may(raw, b"")}
        found = decisions(self._root, self._writer, alone)
        for request, raw in alone.items():
            if request not in found and self._matcher.matches(event := raw.parse()):
                yield raw, event


def _merged(root: Path, query: Query) -> Iterator[tuple[RawLine, dict[str, Any]]]:
    """Yield matches of all writers, newest first by their times."""
    matcher = _Matcher(query)
    heap: list[tuple[bytes, int, RawLine, dict[str, Any], Iterator[tuple[RawLine, dict[str, Any]]]]] = []

    def push(number: int, stream: Iterator[tuple[RawLine, dict[str, Any]]]) -> None:
        for raw, event in stream:
            heapq.heappush(heap, (bytes(255 - byte for byte in time_of(raw.line)), number, raw, event, stream))
            return

    for number, writer in enumerate(writers(root)):
        if matcher.place is not None and writer != matcher.place[0]:
            continue
        push(number, iter(_Stream(root, writer, matcher)))
    while heap:
        _, number, raw, event, stream = heapq.heappop(heap)
        yield raw, event
        push(number, stream)


def search(root: Path, query: Query) -> Iterator[dict[str, Any]]:
    """Yield at most `query.limit` events of the journals under `root`."""
    if query.newest_first:
        for count, (_, event) in enumerate(_merged(root, query), 1):
            yield event
            if count >= query.limit:
                return
    else:
        oldest = deque((event for _, event in _merged(root, query)), maxlen=query.limit)
        yield from reversed(oldest)


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
    """What is appended from now on, as one looks. `behind` says that a look took so much that more may be there."""

    def __init__(self, root: Path, query: Query) -> None:
        """Stand at the end of every journal under `root`."""
        self._root = root
        self._matcher = _Matcher(query)
        self._readers = {writer: _reader_at_end(root, writer) for writer in writers(root)}
        self._decisions: dict[bytes, RawLine] = {}
        self.behind = False

    def poll(self) -> list[dict[str, Any]]:
        """Return what was recorded since; a completion comes with its decision's fields. Raises IntegrityError."""
        events: list[dict[str, Any]] = []
        self.behind = False
        for writer in writers(self._root):
            reader = self._readers.get(writer)
            if reader is None:
                reader = self._readers[writer] = JournalReader(self._root, writer, chained=cited)
            if (piece := reader.piece()) is None:
                continue
            self.behind = self.behind or piece.count >= MANY
            asked_for = [
                RawLine(line, writer, (piece.epoch, seq))
                for seq, line in enumerate(piece.lines, piece.seq) if self._matcher.is_asked_for(line)
            ]  # fmt: skip
            self._remember(writer, piece, asked_for)
            for raw in asked_for:
                event = self._completed(raw)
                if self._matcher.may(raw, orjson.dumps(event)) and self._matcher.matches(event):
                    events.append(event)
        return sorted(events, key=lambda event: str(event.get("@timestamp", "")))

    def _remember(self, writer: str, piece: Piece, asked_for: list[RawLine]) -> None:
        """Keep decisions for the completions that are asked for; what was open before one looked is looked up."""
        if not self._matcher.is_asked_for(COMPLETED):
            return
        self._decisions |= {
            request_of(line): RawLine(line, writer, (piece.epoch, seq))
            for seq, line in enumerate(piece.lines, piece.seq) if DECIDED in line
        }  # fmt: skip
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
        for event in await asyncio.to_thread(list, search(root, replace(query, newest_first=False))):
            told.add(event.get("event.id"))
            yield event
    while True:
        events = await asyncio.to_thread(following.poll)
        for event in events:
            if event.get("event.id") in told:
                continue
            yield event
        if not events and not following.behind:
            await asyncio.sleep(idle)


def _reader_at_end(root: Path, writer: str) -> JournalReader:
    for segment in reversed(segments(root / writer)):
        last = stored.last_of(segment)
        if last is not None:
            return JournalReader(root, writer, last, chained=cited)
    return JournalReader(root, writer, chained=cited)
