"""Raw lines of the journals for searching, newest first, and the byte tests that come before any JSON parsing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from audit import stored
from audit.segment import WRITER_NAME, Segment, record_of, segments

Position = tuple[int, int]
"""(epoch, seq): a place in one writer's journal."""

_TIME: Final = b'"@timestamp":"'
_TIME_LENGTH: Final = 24
_REQUEST: Final = b'"http.request.id":"'
COMPLETED: Final = b'"event.action":"request.completed"'
SLACK: Final = 600.0  # seconds by which a writer's times may stand out of order before a search stops too early


class RawLine(NamedTuple):
    """One line and its place; nothing of it has been parsed or proved."""

    line: bytes
    writer: str
    position: Position

    @property
    def id(self) -> str:
        """The record's `event.id`: `<writer>:<epoch>:<seq>`."""
        return f"{self.writer}:{self.position[0]}:{self.position[1]}"

    def parse(self) -> dict[str, object]:
        """Return the event with its `event.id`; a line that cannot be read gives a record that says so."""
        try:
            event: dict[str, object] = record_of(self.line)
        except orjson.JSONDecodeError as error:
            return {"event.id": self.id, "error.type": "unreadable_record", "error.message": str(error)}
        for name in ("v", "writer", "epoch", "seq", "prev"):
            event.pop(name, None)
        event["event.id"] = self.id
        return event


def time_of(line: bytes) -> bytes:
    """Return the line's `@timestamp` (24 bytes that sort as the times do), empty when it has none."""
    at = line.find(_TIME)
    return line[at + len(_TIME) : at + len(_TIME) + _TIME_LENGTH] if at >= 0 else b""


def request_of(line: bytes) -> bytes:
    """Return the line's request id, empty when it has none."""
    at = line.find(_REQUEST)
    if at < 0:
        return b""
    start = at + len(_REQUEST)
    return line[start : line.find(b'"', start)]


def newest_first(
    root: Path,
    writer: str,
    needles: Sequence[bytes],
    since: bytes,
    waiting: Mapping[bytes, RawLine],
) -> Iterator[RawLine]:
    """Yield a writer's lines from the newest back, of pieces of segments in which all `needles` may be found.

    `since` ends the walk. A piece (`stored.backwards`) without a needle is passed over, unless it has a completion,
    whose decision may be elsewhere, or one of those still `waiting` for their decision has what is missing.
    """
    for segment in reversed(segments(root / writer)):
        for start, data in stored.backwards(segment):
            missing = [needle for needle in needles if needle not in data]
            if missing and COMPLETED not in data and not _has_all(missing, waiting):
                continue
            lines = data.split(b"\n")[:-1]  # what follows the last newline is not a record yet
            for index in range(len(lines) - 1, -1, -1):
                yield RawLine(lines[index] + b"\n", writer, (segment.epoch, segment.first_seq + start + index))
            if since and lines and time_of(lines[0]) < since:
                return


def _has_all(needles: Sequence[bytes], lines: Mapping[bytes, RawLine]) -> bool:
    return any(all(needle in raw.line for needle in needles) for raw in lines.values())


def place_of(name: str) -> tuple[str, Position] | None:
    """Return the writer and position that an `event.id` names, None where it is not of that form."""
    writer, _, numbers = name.partition(":")
    epoch, colon, seq = numbers.partition(":")
    return (writer, (int(epoch), int(seq))) if colon and epoch.isdecimal() and seq.isdecimal() else None


def at(root: Path, writer: str, position: Position) -> RawLine | None:
    """Return the line at one place, None when there is none."""
    folder = root / writer
    if not WRITER_NAME.fullmatch(writer) or not folder.is_dir():
        return None
    for segment in reversed(segments(folder)):
        if segment.key <= position:
            return _in(segment, writer, position) if segment.epoch == position[0] else None
    return None


def _in(segment: Segment, writer: str, position: Position) -> RawLine | None:
    number = position[1] - segment.first_seq
    for start, data in stored.backwards(segment):
        if start <= number:
            lines = data.split(b"\n")[:-1]
            return RawLine(lines[number - start] + b"\n", writer, position) if number - start < len(lines) else None
    return None
