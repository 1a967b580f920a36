"""The lines of the journal themselves, byte for byte, by the record's id or the request's: what a proof is made of.

A request id (受付番号) begins with the time it was given out: 9 characters of Crockford's base 32 hold 45 bits of
milliseconds since the epoch (`gateway.gate.reference`). Records about it are not older, so older files are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from audit import stored
from audit.event import timestamp
from audit.scan import SLACK, RawLine, at, place_of, time_of
from audit.segment import Segment, segments, writers

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERENCE: Final = re.compile(f"[{_ALPHABET}]{{16}}")
_TIME_LENGTH: Final = 9  # characters


def originals(root: Path, name: str) -> list[RawLine]:
    """Return the line with this `event.id`, or all lines with this request id (hyphens optional), oldest first.

    Empty where the journals under `root` have none.
    """
    place = place_of(name)
    if place is not None:
        line = at(root, *place)
        return [] if line is None else [line]
    reference = name.replace("-", "").upper()
    if not _REFERENCE.fullmatch(reference):
        return []
    since = timestamp(given_out(reference) - SLACK).encode()
    needle = b'"http.request.id":"%b"' % reference.encode()
    found = [line for writer in writers(root) for line in _with(root, writer, needle, since)]
    return sorted(found, key=lambda raw: (time_of(raw.line), raw.writer, raw.position))


def given_out(reference: str) -> float:
    """Return the seconds since the epoch at which a request id was made, to the millisecond."""
    milliseconds = 0
    for character in reference[:_TIME_LENGTH]:
        milliseconds = milliseconds << 5 | _ALPHABET.index(character)
    return milliseconds / 1000


def _with(root: Path, writer: str, needle: bytes, since: bytes) -> Iterator[RawLine]:
    for segment in reversed(segments(root / writer)):
        data = stored.whole(segment)
        yield from _lines(data, needle, writer, segment)
        if time_of(data[: data.find(b"\n") + 1]) < since:
            return


def _lines(data: bytes, needle: bytes, writer: str, segment: Segment) -> Iterator[RawLine]:
    hit = data.find(needle)
    while hit >= 0:
        start, end = data.rfind(b"\n", 0, hit) + 1, data.find(b"\n", hit) + 1
        if not end:
            return  # without its newline it is not a record yet
        number = data.count(b"\n", 0, start)
        yield RawLine(data[start:end], writer, (segment.epoch, segment.first_seq + number))
        hit = data.find(needle, end)
